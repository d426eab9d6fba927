"""Reads the fields that every notation is made of, strictly, so that no library ever sees a malformed one."""

import binascii
from typing import Final, Protocol

SALT_BYTES_MAX: Final = 128
"""Others write 8 to 32 bytes; the bound keeps what one hash feeds to HMAC small."""

DIGEST_BYTES_MIN: Final = 16
"""128 bits. A shorter digest would match too many passwords by chance; none of the notations' writers makes one."""

DIGEST_BYTES_MAX: Final = 128
"""Others write 16 to 64 bytes."""


class UnbearableCost(ValueError):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """A hash that would take longer or more memory than we spend on one, or that costs so little that it is none."""


class StoredHash(Protocol):
    """A password hash that has been read and whose cost has been found bearable."""

    def verify(self, password: bytes) -> bool:
        """Whether *password*, in UTF-8, is the one behind this hash. Slow by design; lets go of the GIL.

        Raises:
            MemoryError: There is not enough memory to tell.
        """


def decimal(text: str) -> int:
    """Return the number that *text* says in ASCII digits, without sign, space or underscore.

    Raises:
        ValueError: It says none, or one of over ten digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError("not a number")
    return int(text)


def base64_padded(text: str) -> bytes:
    """Decode *text*: RFC 4648 section 4 with its padding.

    Raises:
        ValueError: It is not that.
    """
    return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)


def base64_unpadded(text: str) -> bytes:
    """Decode *text*: the same alphabet without padding, as PHC strings and passlib have it.

    Raises:
        ValueError: It is not that.
    """
    if "=" in text:
        raise ValueError("padded")
    return base64_padded(text + "=" * (-len(text) % 4))


def check_salt(salt: bytes, *, bytes_min: int = 1) -> bytes:
    """Return *salt* if its length may stand.

    Raises:
        ValueError: It may not.
    """
    if not bytes_min <= len(salt) <= SALT_BYTES_MAX:
        raise ValueError("salt of unbearable length")
    return salt


def check_digest(digest: bytes) -> bytes:
    """Return *digest* if its length may stand.

    Raises:
        ValueError: It may not.
    """
    if not DIGEST_BYTES_MIN <= len(digest) <= DIGEST_BYTES_MAX:
        raise ValueError("digest of unbearable length")
    return digest
