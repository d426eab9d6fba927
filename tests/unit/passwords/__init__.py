"""Hashes, their notations, the pool and the blocklist."""
