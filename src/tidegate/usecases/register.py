"""Makes a user out of what somebody typed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from uuid import UUID

from tidegate.domain.campaigns import read_campaign_code
from tidegate.domain.errors import FaultCollector, FieldFault, IdentifierTaken
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.lanes import Lane
from tidegate.domain.throttling import CounterKind, address_counters
from tidegate.domain.users import (
    IdentifierKind,
    LoginIdentifier,
    NewUser,
    read_birth_date,
    read_full_name,
)
from tidegate.ports.clock import Clock
from tidegate.ports.ids import Ids
from tidegate.ports.passwords import Passwords
from tidegate.ports.throttling import Throttle
from tidegate.ports.users import UserFinder, UserWriter
from tidegate.usecases.password_rules import PasswordRules

Normalise = Callable[[IdentifierKind, str], LoginIdentifier]
"""`identifiers.normalise`, with this node's settings."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Registration:
    """What somebody typed, field by field; None where nothing was typed. It has no repr, for it holds the password."""

    username: str | None = None
    email: str | None = None
    phone_number: str | None = None
    password: str | None = None
    full_name: str | None = None
    birthdate: str | None = None
    campaign: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class CheckedRegistration:
    """A registration whose every field may stand."""

    identifiers: list[LoginIdentifier]
    password: str
    full_name: str | None
    birth_date: date | None
    campaign: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """One registration."""

    normalise: Normalise
    rules: PasswordRules
    readers: UserFinder
    writers: UserWriter
    passwords: Passwords
    throttle: Throttle
    ids: Ids
    clock: Clock

    async def __call__(self, typed: Registration, *, address: str | None = None) -> UUID:
        """Store the user and return their id: from now on they can log in (promises P1, P2).

        Args:
            typed: The fields as they came.
            address: The client's; None for an operator, whom nobody counts.

        Raises:
            InvalidRequest: With every field at fault, before anything was hashed or stored.
            TooManyAttempts: So many have come from *address* already; faulty ones are not among them, they cost nothing.
            IdentifierTaken: Somebody has one of the names.
            Unavailable: No hash thread or no database in time; nothing was stored, or the answer was lost.
        """
        return await self.store(self.admit(typed, address=address))

    def admit(self, typed: Registration, *, address: str | None) -> CheckedRegistration:
        """Do all that costs nothing: the fields, whether there is a place for the hash, how many came from *address*."""
        checked = self._check(typed)
        self.passwords.refuse_if_full(Lane.REGISTER)  # before anybody is looked up or counted
        self.throttle.count(address_counters(CounterKind.REGISTRATION, address))
        return checked

    async def store(self, checked: CheckedRegistration, *, once: KeyedRequest | None = None) -> UUID:
        """Do the rest: nobody has the names, the hash, the row; with *once*, the request's key is stored with the user."""
        taken = [
            FieldFault(identifier.kind, "taken")
            for identifier in checked.identifiers
            if await self.readers.find(identifier) is not None
        ]
        if taken:  # before paying for a hash; of two who come at once the unique index refuses one
            raise IdentifierTaken(*taken)

        named = {identifier.kind: identifier.value for identifier in checked.identifiers}
        user = NewUser(
            user_id=self.ids.user_id(),
            username=named.get(IdentifierKind.USERNAME),
            email=named.get(IdentifierKind.EMAIL),
            phone_number=named.get(IdentifierKind.PHONE_NUMBER),
            password_hash=await self.passwords.hash(checked.password, lane=Lane.REGISTER),
            full_name=checked.full_name,
            birth_date=checked.birth_date,
            campaign=checked.campaign,
        )
        await self.writers.add(user, once=once)
        return user.user_id

    def _check(self, typed: Registration) -> CheckedRegistration:
        """Check every field before refusing any, so that a person corrects them all in one go."""
        faults = FaultCollector()
        names = {
            IdentifierKind.USERNAME: typed.username,
            IdentifierKind.EMAIL: typed.email,
            IdentifierKind.PHONE_NUMBER: typed.phone_number,
        }
        read = [faults.collect(self.normalise, kind, name) for kind, name in names.items() if name]
        if not read:
            faults.add("username", "missing")
        identifiers = [identifier for identifier in read if identifier is not None]

        full_name = faults.collect(read_full_name, typed.full_name) if typed.full_name else None
        today = self.clock.now().date()
        birth_date = faults.collect(partial(read_birth_date, today=today), typed.birthdate) if typed.birthdate else None
        campaign = faults.collect(read_campaign_code, typed.campaign) if typed.campaign else None
        password = faults.collect(self.rules.choose, typed.password, identifiers) if typed.password else None
        if not typed.password:
            faults.add("password", "missing")
        faults.raise_if_any()
        assert password is not None  # else there was a fault
        return CheckedRegistration(identifiers, password, full_name, birth_date, campaign)
