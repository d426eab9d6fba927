"""Measures what this machine hashes, and reckons from that what a storm of logins needs."""
