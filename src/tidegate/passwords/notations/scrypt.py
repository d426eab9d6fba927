"""Verifies scrypt hashes (RFC 7914) as passlib and Django write them."""

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

MEMORY_BYTES_MAX: Final = 268_435_456
"""Of the table, 128 times N and r: 256 MiB, as for Argon2. OWASP's dearest setting (N = 2**17, r = 8) takes half of it."""

WORK_BYTES_MAX: Final = 536_870_912
"""128 times N, r and p: 512 MiB, 1.4 s of one core. Django 5.1 writes 80 MiB (N = 2**14, r = 8, p = 5)."""

P_MAX: Final = 64
"""Others write 1 to 10. With a small N the p blocks themselves would be what takes the time."""

_LOG2_N_MAX: Final = 21
"""At r = 1 this is `MEMORY_BYTES_MAX`; it keeps 2**ln from being computed for a senseless ln."""


@dataclass(frozen=True, slots=True)
class ScryptHash:
    """A scrypt hash.

    Attributes:
        n: Cost in processor and memory, a power of two.
        r: Block size.
        p: Parallelisation; the library computes it on one thread.
    """

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def verify(self, password: bytes) -> bool:
        """See `StoredHash`."""
        computed = hashlib.scrypt(
            password,
            salt=self.salt,
            n=self.n,
            r=self.r,
            p=self.p,
            # What OpenSSL counts: the table, two blocks beside it, and p blocks of output.
            maxmem=128 * self.r * (self.n + self.p + 2),
            dklen=len(self.digest),
        )
        return hmac.compare_digest(computed, self.digest)


def read_passlib_scrypt(fields: Sequence[str]) -> ScryptHash:
    """Read `scrypt$ln=16,r=8,p=1$<salt>$<digest>` split at its dollars.

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    _, costs, salt, digest = fields
    ln, r, p = costs.split(",")
    if not (ln.startswith("ln=") and r.startswith("r=") and p.startswith("p=")):
        raise ValueError("not passlib's scrypt")
    log2_n = decimal(ln[3:])
    if log2_n > _LOG2_N_MAX:
        raise UnbearableCost
    return _checked(2**log2_n, decimal(r[2:]), decimal(p[2:]), base64_unpadded(salt), base64_unpadded(digest))


def read_django_scrypt(fields: Sequence[str]) -> ScryptHash:
    """Read what stands behind `scrypt$`: `16384$<salt, bare text>$8$1$<digest>` split at its dollars.

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    n, salt, r, p, digest = fields
    return _checked(decimal(n), decimal(r), decimal(p), salt.encode(), base64_padded(digest))


def _checked(n: int, r: int, p: int, salt: bytes, digest: bytes) -> ScryptHash:
    # RFC 7914 section 2: N is a power of two, over 1 and under 2**(128 * r / 8).
    if n < 2 or n.bit_count() != 1 or r < 1 or p < 1 or n.bit_length() - 1 >= 16 * r:
        raise ValueError("not scrypt")
    if 128 * n * r > MEMORY_BYTES_MAX or p > P_MAX or 128 * n * r * p > WORK_BYTES_MAX:
        raise UnbearableCost
    return ScryptHash(n, r, p, check_salt(salt), check_digest(digest))
