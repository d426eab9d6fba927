"""Requests that may be sent again without happening again: under which key, what is kept of them, and for how long.

The header is of draft-ietf-httpapi-idempotency-key-header-07; what we made of it is in ADR 0019.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

KEY_CHARACTERS_MIN: Final = 16
"""A key must be one that nobody else thinks of: a caller who registers has no other scope. A UUID has 32 or 36."""

KEY_CHARACTERS_MAX: Final = 255

KEPT_S: Final = 24 * 60 * 60
"""How long the same key means the same request, in seconds."""

_ABSENT: Final = b"-"
_PRESENT: Final = b"+"


class Operation(StrEnum):
    """What a key is used for; the same key for another operation is another key. The values are part of what is stored."""

    REGISTER = "register"
    CHANGE_PASSWORD = "change_password"  # noqa: S105 - the name of an operation
    REDEEM = "redeem"
    RESERVE = "reserve"
    CONFIRM = "confirm"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, repr=False)
class KeyedRequest:
    """What is kept of a request under an idempotency key. Neither the key nor the request can be read out of it.

    Attributes:
        key_mac: Stands for operation, caller and key.
        request_mac: Stands for all of that and for the whole request.
    """

    key_mac: bytes
    request_mac: bytes


Mac = Callable[[bytes], bytes]
"""A message authentication code under a secret of the installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keying:
    """Makes of a request under a key what is kept of it.

    The code of the request covers the key too, and the key is kept nowhere: so whoever has the table AND the secret of the
    installation still cannot try passwords against the code, unless they know the client's key (ADR 0019).

    Attributes:
        mac_of_key: For one purpose alone.
        mac_of_request: For another.
    """

    mac_of_key: Mac
    mac_of_request: Mac

    def __call__(
        self, operation: Operation, key: str, *, caller: bytes = b"", fields: Sequence[str | None]
    ) -> KeyedRequest:
        """Return what is kept of a request.

        Args:
            operation: What is asked for.
            key: As the client gave it.
            caller: Who asks; empty for who has no identity yet.
            fields: Everything that decides what is done, always in the same order; None for what is absent.
        """
        scope = [operation.encode(), caller, key.encode()]
        spelt = [_ABSENT if field is None else _PRESENT + field.encode() for field in fields]
        return KeyedRequest(self.mac_of_key(_joined(scope)), self.mac_of_request(_joined([*scope, *spelt])))


def _joined(parts: Sequence[bytes]) -> bytes:
    """*parts* as one message, each behind its length: no two lists make the same."""
    return b"".join(len(part).to_bytes(4) + part for part in parts)
