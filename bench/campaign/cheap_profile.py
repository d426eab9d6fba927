"""Passwords that cost next to nothing, so that a bench of what comes after the hash is not one of hashes."""

from typing import Final

from tidegate.passwords.profiles import HashProfile

CHEAP: Final = HashProfile("bench-8", memory_cost_kib=8, time_cost=1)
"""The least that Argon2 is defined for (RFC 9106 section 3.1), and the least that a login accepts. It protects nobody: no
installation knows it, and a node of this benchmark learns of it from `cheap/sitecustomize.py`."""
