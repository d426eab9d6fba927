"""What an import of users is made of, and how far one is (ADR 0029)."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.domain.users import NewUser

IDENTIFIER_FIELDS: Final = ("username", "email", "phone_number")
KEYCLOAK_FIELDS: Final = ("credential_data", "secret_data")
"""Both together stand for `password_hash`: columns of Keycloak's table `credential`."""

FIELDS: Final = ("userid", *IDENTIFIER_FIELDS, "password_hash", *KEYCLOAK_FIELDS, "full_name", "birthdate", "last_login")
"""What a record may hold; the names are those of the API."""

PLAIN_PASSWORD_FIELD: Final = "password"  # noqa: S105 - the name of a field
"""It is never read: see ADR 0029."""

NAME_CHARACTERS_MAX: Final = 40


def told_name(name: str) -> str:
    """The name of a field as it may be shown: where a file has no header, what stands there may be a password hash."""
    return name if name.isascii() and name.isidentifier() and len(name) <= NAME_CHARACTERS_MAX else "?"


@dataclass(frozen=True, slots=True)
class ImportedUser:
    """One record whose every field has been checked and normalised.

    Attributes:
        user: As after a registration; the hash may have the mark of a disabled user.
        last_login: In UTC, aware.
    """

    user: NewUser
    last_login: datetime | None


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A record that makes no user.

    Attributes:
        line: The line of the file on which it begins, from 1.
        faults: What is wrong with it; never a value of it.
    """

    line: int
    faults: tuple[FieldFault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """How far the import of one file is.

    Attributes:
        bytes_done: Of the file, from its beginning: everything before is added or refused for good.
        lines_done: How many lines that is.
        added: Users.
        refused: Records.
        ended_at: When the whole file was done; None: it is not.
    """

    bytes_done: int
    lines_done: int
    added: int = 0
    refused: int = 0
    ended_at: datetime | None = None

    def after(self, block: "CheckedBlock", *, refused: int) -> "ImportProgress":
        """How far it is once *block* is done, of whose records so many were *refused*."""
        return replace(
            self,
            bytes_done=block.bytes_done,
            lines_done=block.lines_done,
            added=self.added + block.records - refused,
            refused=self.refused + refused,
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CheckedBlock:
    """Some lines of a file, checked. Has no repr: it holds password hashes.

    Attributes:
        rows: Those that may be added, as the database takes them.
        records: How many there are in all, good and bad.
        refused: The bad ones, in the order of the file.
        bytes_done: Where in the file it ends.
        lines_done: Likewise.
    """

    rows: bytes
    records: int
    refused: tuple[RefusedLine, ...]
    bytes_done: int
    lines_done: int


_ISO_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


def read_last_login(typed: str, *, now: datetime) -> datetime:
    """Return the moment that *typed* names (ISO 8601, such as `2024-05-04T10:00:00Z`); without an offset it is UTC.

    Raises:
        InvalidRequest: Not of that form, or after *now*.
    """
    if not _ISO_TIME.fullmatch(typed):
        raise InvalidRequest(FieldFault("last_login", "not_a_time"))
    try:
        read = datetime.fromisoformat(typed)
        moment = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(FieldFault("last_login", "not_a_time")) from None
    if moment > now:
        raise InvalidRequest(FieldFault("last_login", "in_the_future"))
    return moment


_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


def read_user_id(typed: str) -> UUID:
    """Return the id that *typed* spells (RFC 9562 section 4), of any version.

    Raises:
        InvalidRequest: It spells none.
    """
    if not _UUID.fullmatch(typed):
        raise InvalidRequest(FieldFault("userid", "not_a_uuid"))
    return UUID(typed)
