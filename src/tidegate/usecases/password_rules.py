"""What a password must be for its owner, whether they register or change it."""

from dataclasses import dataclass

from tidegate.domain.credentials import choose_password
from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.domain.users import LoginIdentifier
from tidegate.ports.passwords import Blocklist


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRules:
    """What a password must be before anything is hashed."""

    blocklist: Blocklist

    def choose(self, typed: str, identifiers: list[LoginIdentifier], *, field: str = "password") -> str:
        """Return *typed* normalised, if its owner may have it.

        Args:
            typed: The wish.
            identifiers: The owner's names: none of them may be the password (ASVS v5.0.0-6.2.11).
            field: The name on the wire, for the refusal.

        Raises:
            InvalidRequest: `too_short`, `too_long`, `invalid_characters`, `too_common` or `same_as_identifier`.
        """
        password = choose_password(typed, field=field)
        if self.blocklist.holds(password):
            raise InvalidRequest(FieldFault(field, "too_common"))
        folded = password.casefold()
        if any(folded == identifier.value.casefold() for identifier in identifiers):
            raise InvalidRequest(FieldFault(field, "same_as_identifier"))
        return password
