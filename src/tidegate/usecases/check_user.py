"""Makes a user out of one record of an import, by the rules that everybody keeps who registers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from tidegate.domain.errors import FaultCollector, FieldFault, InvalidRequest
from tidegate.domain.user_imports import (
    FIELDS,
    IDENTIFIER_FIELDS,
    KEYCLOAK_FIELDS,
    PLAIN_PASSWORD_FIELD,
    ImportedUser,
    read_last_login,
    read_user_id,
    told_name,
)
from tidegate.domain.users import DISABLED_MARK, IdentifierKind, NewUser, read_birth_date, read_full_name
from tidegate.ports.ids import Ids
from tidegate.usecases.register import Normalise

_KINDS = tuple((name, IdentifierKind(name)) for name in IDENTIFIER_FIELDS)
_KNOWN = frozenset(FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckUser:
    """One record.

    Attributes:
        why_refused: Why a login would not verify a hash, as a short token; None: it would.
        respell: Makes the stored form of Keycloak's `credential_data` and `secret_data`; raises ValueError.
        stored_length_max: Of the column, in characters.
        now: When the import began: nobody is born or has logged in later.
    """

    normalise: Normalise
    why_refused: Callable[[str], str | None]
    respell: Callable[[str, str], str]
    stored_length_max: int
    ids: Ids
    now: datetime

    def __call__(self, fields: Mapping[str, str]) -> ImportedUser:
        """Return the user.

        Args:
            fields: As they came; an empty one counts as absent.

        Raises:
            InvalidRequest: With every field at fault.
        """
        faults = FaultCollector()
        if not fields.keys() <= _KNOWN:
            for name in fields.keys() - _KNOWN:
                faults.add(told_name(name), "plain_password" if name == PLAIN_PASSWORD_FIELD else "unknown")
        if not (fields.get("username") or fields.get("email") or fields.get("phone_number")):
            faults.add("username", "missing")
        username, email, phone_number = [
            faults.collect(self.normalise, kind, typed) if (typed := fields.get(name)) else None for name, kind in _KINDS
        ]
        typed = fields.get("userid")
        user_id = faults.collect(read_user_id, typed) if typed else self.ids.user_id()
        stored = faults.collect(self._stored_password, fields)
        typed = fields.get("full_name")
        full_name = faults.collect(read_full_name, typed) if typed else None
        typed = fields.get("birthdate")
        birth_date = faults.collect(partial(read_birth_date, today=self.now.date()), typed) if typed else None
        typed = fields.get("last_login")
        last_login = faults.collect(partial(read_last_login, now=self.now), typed) if typed else None
        faults.raise_if_any()
        assert user_id is not None  # else there was a fault
        assert stored is not None  # likewise
        user = NewUser(
            user_id=user_id,
            username=None if username is None else username.value,
            email=None if email is None else email.value,
            phone_number=None if phone_number is None else phone_number.value,
            password_hash=stored,
            full_name=full_name,
            birth_date=birth_date,
        )
        return ImportedUser(user, last_login)

    def _stored_password(self, fields: Mapping[str, str]) -> str:
        """The column as it will stand: a hash that a login verifies, as it came; marked if the user is disabled."""
        stored = fields.get("password_hash", "")
        data, secret = map(fields.get, KEYCLOAK_FIELDS)
        if data or secret:
            if stored:
                raise InvalidRequest(FieldFault("password_hash", "given_twice"))
            try:
                return self.respell(data or "", secret or "")
            except ValueError:
                raise InvalidRequest(FieldFault("secret_data", "not_of_keycloak")) from None
        if not stored:
            raise InvalidRequest(FieldFault("password_hash", "missing"))
        # A NUL may stand in no text of PostgreSQL's.
        reason = "malformed" if "\0" in stored else self.why_refused(stored.removeprefix(DISABLED_MARK))
        if reason is None and len(stored) > self.stored_length_max:
            reason = "too_long"
        if reason is not None:
            raise InvalidRequest(FieldFault("password_hash", reason))
        return stored
