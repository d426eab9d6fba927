"""Reads stored password hashes in our notation and in those of others, so that nobody who moves here needs a new password.

| notation | as in |
|---|---|
| PHC strings of argon2id, argon2i, argon2d; version 19, 16 or none | `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<digest>` |
| bcrypt 2a, 2b, 2y | `$2b$12$<salt and digest>` |
| passlib's scrypt | `$scrypt$ln=16,r=8,p=1$<salt>$<digest>` |
| passlib's PBKDF2 of SHA-256, SHA-512, SHA-1 | `$pbkdf2-sha256$29000$<salt>$<digest>`, `$pbkdf2-sha512$..`, `$pbkdf2$..` |
| Django's Argon2 and bcrypt | `argon2$argon2id$..`, `bcrypt$$2b$..`, `bcrypt_sha256$$2b$..` |
| Django's scrypt | `scrypt$16384$<salt>$8$5$<digest>` |
| Django's PBKDF2 | `pbkdf2_sha256$1200000$<salt>$<digest>`, `pbkdf2_sha1$..` |
| Keycloak's JSON, respelt by `passwords.keycloak` | `keycloak$pbkdf2-sha512$210000$<salt>$<digest>` |

Each module states the costs it accepts and why; the dearest that is accepted takes 1.5 s of one core, fifty times our own
hash. What is dearer is refused when it is read and never computed: whoever can
write a hash into the table, by an import perhaps, must not thereby decide how long our cores work.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tidegate.passwords.notations.argon2 import read_argon2
from tidegate.passwords.notations.bcrypt import read_bcrypt, read_django_bcrypt, read_django_bcrypt_sha256
from tidegate.passwords.notations.fields import StoredHash, UnbearableCost
from tidegate.passwords.notations.pbkdf2 import read_django_pbkdf2, read_keycloak_pbkdf2, read_passlib_pbkdf2
from tidegate.passwords.notations.scrypt import read_django_scrypt, read_passlib_scrypt

__all__ = ["STORED_LENGTH_MAX", "StoredHash", "parse", "why_refused"]

STORED_LENGTH_MAX: Final = 512
"""The width of the column `users.password`, in characters."""

_Reader = Callable[[Sequence[str]], StoredHash]

# Keyed by the name after the leading dollar; the reader gets the fields from that name on.
_AFTER_A_DOLLAR: Final[Mapping[str, _Reader]] = {
    "argon2id": read_argon2,
    "argon2i": read_argon2,
    "argon2d": read_argon2,
    "2a": read_bcrypt,
    "2b": read_bcrypt,
    "2y": read_bcrypt,
    "scrypt": read_passlib_scrypt,
    "pbkdf2": read_passlib_pbkdf2,
    "pbkdf2-sha256": read_passlib_pbkdf2,
    "pbkdf2-sha512": read_passlib_pbkdf2,
}

# Keyed by the name that stands first; the reader gets the fields after it.
_WITHOUT_A_DOLLAR: Final[Mapping[str, _Reader]] = {
    "argon2": read_argon2,
    "bcrypt": read_django_bcrypt,
    "bcrypt_sha256": read_django_bcrypt_sha256,
    "scrypt": read_django_scrypt,
    "pbkdf2_sha256": lambda fields: read_django_pbkdf2(fields, hash_name="sha256"),
    "pbkdf2_sha1": lambda fields: read_django_pbkdf2(fields, hash_name="sha1"),
    "keycloak": read_keycloak_pbkdf2,
}


def parse(stored: str) -> StoredHash | None:
    """Read *stored*, without computing anything.

    Args:
        stored: A password hash, without the mark of a disabled user.

    Returns:
        What can verify a password, or None: no notation that we know, malformed, or of a cost that we do not bear.
    """
    if len(stored) > STORED_LENGTH_MAX:
        return None
    first, *rest = stored.split("$")
    names, name = (_WITHOUT_A_DOLLAR, first) if first else (_AFTER_A_DOLLAR, rest[0] if rest else "")
    read = names.get(name)
    if read is None:
        return None
    try:
        return read(rest)
    except ValueError:  # too few fields and bad Base64 are ValueErrors too
        return None


def why_refused(stored: str) -> str | None:
    """Say, as a short token, why `parse` reads nothing from *stored*; None: it reads it.

    Returns:
        `too_long`, `unknown_notation`, `unbearable_cost` or `malformed`.
    """
    if parse(stored) is not None:
        return None
    if len(stored) > STORED_LENGTH_MAX:
        return "too_long"
    first, *rest = stored.split("$")
    read = _WITHOUT_A_DOLLAR.get(first) if first else _AFTER_A_DOLLAR.get(rest[0] if rest else "")
    if read is None:
        return "unknown_notation"
    try:
        read(rest)
    except UnbearableCost:
        return "unbearable_cost"
    except ValueError:
        pass
    return "malformed"
