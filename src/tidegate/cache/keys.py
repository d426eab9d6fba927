"""Every key in the cache is made here, so that no two things can share one."""

from typing import Final

_PREFIX: Final = b"tg1:"
"""Of ours among what others may keep there; the number changes when what a key stands for does."""

_ATTEMPTS: Final = _PREFIX + b"n:"


def attempts(bucket: bytes) -> bytes:
    """Of a number of failed attempts."""
    return _ATTEMPTS + bucket
