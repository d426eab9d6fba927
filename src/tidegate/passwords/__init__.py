"""Hashes passwords and compares them, in bounded time and memory, and knows which nobody may choose."""
