"""Verifies PBKDF2 hashes (RFC 8018) as passlib, Django and, in our spelling, Keycloak write them."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tidegate.passwords.notations.fields import (
    UnbearableCost,
    base64_padded,
    base64_unpadded,
    check_digest,
    check_salt,
    decimal,
)

ITERATIONS_MAX: Final = 2_000_000
"""Django 6 writes 1,200,000 and adds a fifth a year; OWASP asks for 600,000. 1.0 s of one core."""

WORK_MAX: Final = 4_000_000
"""Iterations times blocks of output: each block costs all the iterations. Keycloak writes up to 4 blocks."""

_PASSLIB: Final = {"pbkdf2": "sha1", "pbkdf2-sha256": "sha256", "pbkdf2-sha512": "sha512"}
KEYCLOAK_DIGESTS: Final = {"pbkdf2": "sha1", "pbkdf2-sha256": "sha256", "pbkdf2-sha512": "sha512"}
"""Keycloak's names of its PBKDF2 algorithms, and what HMAC each is of."""


@dataclass(frozen=True, slots=True)
class Pbkdf2Hash:
    """A PBKDF2 hash.

    Attributes:
        hash_name: Of its HMAC, as hashlib calls it.
    """

    hash_name: str
    iterations: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def verify(self, password: bytes) -> bool:
        """See `StoredHash`."""
        computed = hashlib.pbkdf2_hmac(self.hash_name, password, self.salt, self.iterations, dklen=len(self.digest))
        return hmac.compare_digest(computed, self.digest)


def read_passlib_pbkdf2(fields: Sequence[str]) -> Pbkdf2Hash:
    """Read `pbkdf2-sha256$29000$<salt>$<digest>` split at its dollars; passlib writes a dot for Base64's plus.

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    name, iterations, salt, digest = fields
    if "+" in salt or "+" in digest:
        raise ValueError("not passlib's alphabet")
    return _checked(
        _PASSLIB[name],
        decimal(iterations),
        base64_unpadded(salt.replace(".", "+")),
        base64_unpadded(digest.replace(".", "+")),
    )


def read_django_pbkdf2(fields: Sequence[str], *, hash_name: str) -> Pbkdf2Hash:
    """Read what stands behind `pbkdf2_sha256$`: `1200000$<salt, bare text>$<digest>` split at its dollars.

    Args:
        fields: Those.
        hash_name: What the name before them says.

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    iterations, salt, digest = fields
    return _checked(hash_name, decimal(iterations), salt.encode(), base64_padded(digest))


def read_keycloak_pbkdf2(fields: Sequence[str]) -> Pbkdf2Hash:
    """Read what stands behind `keycloak$`: `pbkdf2-sha512$210000$<salt>$<digest>` split at its dollars.

    This is our spelling of Keycloak's JSON (see `passwords.keycloak`).

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    name, iterations, salt, digest = fields
    if name not in KEYCLOAK_DIGESTS:
        raise ValueError("not an algorithm of Keycloak's")
    return _checked(KEYCLOAK_DIGESTS[name], decimal(iterations), base64_padded(salt), base64_padded(digest))


def _checked(hash_name: str, iterations: int, salt: bytes, digest: bytes) -> Pbkdf2Hash:
    blocks = -(-len(digest) // hashlib.new(hash_name).digest_size)
    if not 1 <= iterations <= ITERATIONS_MAX or iterations * blocks > WORK_MAX:
        raise UnbearableCost
    return Pbkdf2Hash(hash_name, iterations, check_salt(salt), check_digest(digest))
