"""Coupon codes: 80 random bits that people can read out, type in and mistype without harm.

Crockford's Base 32 (https://www.crockford.com/base32.html): no I, L, O or U, in either case, hyphens where one likes, and
one check symbol, the number modulo 37, which finds every single wrong symbol and every swap of two neighbours.
"""

from typing import Final

RANDOM_OCTETS: Final = 10
"""80 bits: with a million codes out, a guess hits one in 10**18."""

SYMBOLS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHECKS: Final = SYMBOLS + "*~$=U"
_BITS_PER_SYMBOL: Final = 5
_SYMBOLS_OF_NUMBER: Final = RANDOM_OCTETS * 8 // _BITS_PER_SYMBOL

_READ_AS: Final = str.maketrans({"-": None, "O": "0", "I": "1", "L": "1"})
"""What people write for what they see."""


def make_coupon_code(random_octets: bytes) -> str:
    """Return the code of *random_octets*, `RANDOM_OCTETS` from a cryptographic source: 16 symbols and the check."""
    number = int.from_bytes(random_octets, "big")
    places = range(_SYMBOLS_OF_NUMBER - 1, -1, -1)
    symbols = "".join(SYMBOLS[number >> place * _BITS_PER_SYMBOL & 31] for place in places)
    return symbols + _CHECKS[number % 37]


def read_coupon_code(typed: str) -> str | None:
    """Return the code that *typed* stands for, as `make_coupon_code` made it, or None if it cannot be one."""
    code = typed.upper().translate(_READ_AS) if typed.isascii() else ""
    if len(code) != _SYMBOLS_OF_NUMBER + 1:
        return None
    number = 0
    for symbol in code[:-1]:
        value = SYMBOLS.find(symbol)
        if value < 0:
            return None
        number = number << _BITS_PER_SYMBOL | value
    return code if _CHECKS[number % 37] == code[-1] else None
