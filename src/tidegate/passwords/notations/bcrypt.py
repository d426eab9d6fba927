"""Verifies bcrypt hashes, bare and as Django wraps them. We never make one: bcrypt sees only 72 bytes."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import bcrypt

from tidegate.passwords.notations.fields import UnbearableCost

COST_MAX: Final = 14
"""1.0 s of one core; each step doubles it. Others write 10 to 12."""

_COST_MIN: Final = 4
"""The algorithm's own bound."""

_PASSWORD_BYTES_SEEN: Final = 72
"""bcrypt uses the first 72 bytes. Whoever made such a hash cut there, knowingly or not, so to verify it we cut too; the
rehash after the login covers the whole password. The library refuses longer ones from version 5 on."""

_IDENTS: Final = frozenset({"2a", "2b", "2y"})
"""2b is today's; 2a and 2y name the same computation where, as here, passwords hold no NUL. 2x was a bug with a name."""

_SALT_AND_DIGEST: Final = re.compile(r"([./A-Za-z0-9]{21})([./A-Za-z0-9])([./A-Za-z0-9]{31})", re.ASCII)

_ALPHABET: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

_SALT_END_BITS: Final = 0b110000
"""Of the six bits of the salt's last character these two belong to it. Some writers left the others set and most readers
never looked; the library refuses them, so they are cleared."""


@dataclass(frozen=True, slots=True)
class BcryptHash:
    """A bcrypt hash.

    Attributes:
        cost: Logarithm of the number of rounds.
        is_of_sha256: It is made of the password's SHA-256 in hexadecimal (Django's `bcrypt_sha256`).
        encoded: The bare hash, which the library takes whole.
    """

    cost: int
    is_of_sha256: bool
    encoded: bytes = field(repr=False)

    def verify(self, password: bytes) -> bool:
        """See `StoredHash`."""
        if self.is_of_sha256:
            password = hashlib.sha256(password).hexdigest().encode()
        return bcrypt.checkpw(password[:_PASSWORD_BYTES_SEEN], self.encoded)


def read_bcrypt(fields: Sequence[str]) -> BcryptHash:
    """Read `2b$12$<salt and digest>` split at its dollars.

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    ident, cost, salt_and_digest = fields
    matched = _SALT_AND_DIGEST.fullmatch(salt_and_digest)
    if ident not in _IDENTS or len(cost) != 2 or matched is None:
        raise ValueError("not bcrypt")
    if not (cost.isascii() and cost.isdigit() and _COST_MIN <= int(cost) <= COST_MAX):
        raise UnbearableCost
    salt, salt_end, digest = matched.groups()
    salt_end = _ALPHABET[_ALPHABET.index(salt_end) & _SALT_END_BITS]
    return BcryptHash(int(cost), is_of_sha256=False, encoded=f"${ident}${cost}${salt}{salt_end}{digest}".encode())


def read_django_bcrypt(fields: Sequence[str]) -> BcryptHash:
    """Read what stands behind `bcrypt$`: a bare hash with its leading dollar.

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    nothing, *bare = fields
    if nothing:
        raise ValueError("not Django's bcrypt")
    return read_bcrypt(bare)


def read_django_bcrypt_sha256(fields: Sequence[str]) -> BcryptHash:
    """Read what stands behind `bcrypt_sha256$`, likewise.

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    bare = read_django_bcrypt(fields)
    return BcryptHash(bare.cost, is_of_sha256=True, encoded=bare.encoded)
