"""Who a user is, and by which names a user is found."""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from tidegate.domain.coupons import Coupon
from tidegate.domain.errors import FieldFault, InvalidRequest

DISABLED_MARK: Final = "!"
"""First character of the stored password of a disabled user.

As in shadow(5): the hash is kept behind the mark, so that enabling the user gives the old password back. One column thus
decides whether a login may succeed, and the statement that opens a session proves that column current (ADR 0006)."""


FULL_NAME_LENGTH_MAX: Final = 255
"""In code points: the column is varchar(255)."""

BIRTH_DATE_MIN: Final = date(1900, 1, 1)
"""Nobody alive was born before; it catches typing errors such as 0199-01-01."""


class IdentifierKind(StrEnum):
    """The three names a user can have; the values are the names on the wire and in the table."""

    USERNAME = "username"
    EMAIL = "email"
    PHONE_NUMBER = "phone_number"


@dataclass(frozen=True, slots=True)
class LoginIdentifier:
    """One normalised name of a user.

    Attributes:
        kind: Which of the three.
        value: Normalised by `identifiers.normalise`: what is stored and what is looked up are the same string.
    """

    kind: IdentifierKind
    value: str


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """What a login must know of a user.

    Attributes:
        user_id: The user's id.
        stored_password: The column as it stands: a password hash, with `DISABLED_MARK` before it for a disabled user.
        may_lag: It stood so a moment ago, and nobody may be refused for it; says nothing of the user.
    """

    user_id: UUID
    stored_password: str
    may_lag: bool = field(default=False, compare=False)

    @property
    def is_disabled(self) -> bool:
        """The user may not log in, whatever the password."""
        return self.stored_password.startswith(DISABLED_MARK)

    @property
    def password_hash(self) -> str:
        """The hash to verify against, without the mark."""
        return self.stored_password.removeprefix(DISABLED_MARK)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A registration whose every field has been checked and normalised; at least one identifier is set.

    Attributes:
        campaign: The code of the campaign that it came through; the user takes part if that is open at that moment.
    """

    user_id: UUID
    username: str | None
    email: str | None
    phone_number: str | None
    password_hash: str
    full_name: str | None
    birth_date: date | None
    campaign: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a user may see of themselves.

    Attributes:
        last_login: In UTC, aware; None before the first login. Written by the worker, so seconds late.
        coupons: As the grants say. A state that changes by time alone, such as an expiry, may show some seconds late.
    """

    user_id: UUID
    username: str | None
    email: str | None
    phone_number: str | None
    full_name: str | None
    birth_date: date | None
    last_login: datetime | None
    coupons: tuple[Coupon, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileChange:
    """New values for a profile; None leaves a field as it is."""

    full_name: str | None = None
    birth_date: date | None = None


_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def read_birth_date(typed: str, *, today: date) -> date:
    """Return the date that *typed* (YYYY-MM-DD, ISO 8601 extended format) names.

    Raises:
        InvalidRequest: Not of that form, not in the calendar, before `BIRTH_DATE_MIN` or after *today*.
    """
    if not _ISO_DATE.fullmatch(typed):
        raise InvalidRequest(FieldFault("birthdate", "not_a_date"))
    try:
        born = date.fromisoformat(typed)
    except ValueError:
        raise InvalidRequest(FieldFault("birthdate", "not_a_date")) from None
    if born > today:
        raise InvalidRequest(FieldFault("birthdate", "in_the_future"))
    if born < BIRTH_DATE_MIN:
        raise InvalidRequest(FieldFault("birthdate", "too_early"))
    return born


def read_full_name(typed: str) -> str:
    """Return *typed* in normalisation form C, otherwise as it came: names follow no rules.

    Raises:
        InvalidRequest: Over `FULL_NAME_LENGTH_MAX`, or it holds control characters or lone surrogates.
    """
    if len(typed) > FULL_NAME_LENGTH_MAX:
        raise InvalidRequest(FieldFault("full_name", "too_long"))
    name = unicodedata.normalize("NFC", typed)
    if len(name) > FULL_NAME_LENGTH_MAX:
        raise InvalidRequest(FieldFault("full_name", "too_long"))
    # What is printable holds no character of a category C (str.isprintable): most names are not looked at one by one.
    if not name.isprintable() and any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise InvalidRequest(FieldFault("full_name", "invalid_characters"))
    return name
