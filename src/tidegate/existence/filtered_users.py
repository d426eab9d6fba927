"""Users behind the existence filter: who looks for somebody asks it first, who adds somebody tells it first."""

import asyncio
from typing import Final, Protocol
from uuid import UUID

from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.users import IdentifierKind, LoginIdentifier, NewUser, StoredCredentials
from tidegate.existence.shared_filter import NOWHERE
from tidegate.ports.users import ExistenceFilter, NearbyUsers, UserFinder, UserReader, UserWriter

_LOCK_TRIES: Final = 50
_LOCK_PAUSE_S: Final = 0.001
"""How often, and after which pause, a registration tries to get into the filter. Others hold the lock for microseconds, the
keeper for half a millisecond; who holds it for longer has been stopped in the middle."""


class NotingUsers(UserReader, NearbyUsers, UserWriter, Protocol):
    """A store of users, on the primary, that tells the database in which filter a new one has been noted."""

    async def add(self, user: NewUser, *, noted_in: int = NOWHERE, once: KeyedRequest | None = None) -> None:
        """As `UserWriter.add`.

        Args:
            user: As there.
            noted_in: What `ExistenceFilter.add` gave for the user's identifiers.
            once: As there.
        """


class FilteredUsers:
    """`UserReader`, `NearbyUsers` and `UserWriter` of `ports.users`: whom the filter surely lacks nobody is asked for."""

    def __init__(self, users: NotingUsers, *, nearby: NearbyUsers, existence: ExistenceFilter) -> None:
        """Nobody is asked yet.

        Args:
            users: Finds and adds them on the primary.
            nearby: Finds them where reading is cheapest.
            existence: The filter.
        """
        self._users = users
        self._nearby = nearby
        self._existence = existence
        self._spared = 0

    async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """See `ports.users.UserReader.find`."""
        if self._existence.lacks(identifier):
            self._spared += 1
            return None
        return await self._users.find(identifier)

    async def find_nearby(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """See `ports.users.NearbyUsers.find_nearby`."""
        if self._existence.lacks(identifier):
            self._spared += 1
            return None
        if self._nearby is not self._users and not self._existence.might_contain(identifier):
            # Most likely nobody has it, and that only the primary can say: one look-up instead of two.
            return await self._users.find(identifier)
        return await self._nearby.find_nearby(identifier)

    async def credentials(self, user_id: UUID) -> StoredCredentials | None:
        """See `ports.users.UserReader.credentials`."""
        return await self._users.credentials(user_id)

    async def add(self, user: NewUser, *, once: KeyedRequest | None = None) -> None:
        """See `ports.users.UserWriter.add`. Noted first: there is no moment in which the user exists and is not noted."""
        await self._users.add(user, noted_in=await self._note(user), once=once)

    async def rehash(self, user_id: UUID, *, old: str, new: str) -> bool:
        """See `ports.users.UserWriter.rehash`."""
        return await self._users.rehash(user_id, old=old, new=new)

    def take_spared(self) -> int:
        """How many look-ups the filter has spared since this was asked last."""
        spared, self._spared = self._spared, 0
        return spared

    async def _note(self, user: NewUser) -> int:
        named = {
            IdentifierKind.USERNAME: user.username,
            IdentifierKind.EMAIL: user.email,
            IdentifierKind.PHONE_NUMBER: user.phone_number,
        }
        identifiers = [LoginIdentifier(kind, value) for kind, value in named.items() if value is not None]
        for _ in range(_LOCK_TRIES):
            noted_in = self._existence.add(identifiers)
            if noted_in is not None:
                return noted_in
            await asyncio.sleep(_LOCK_PAUSE_S)
        # The database then does with it as with whoever is added by others: nobody decides alone until the filter has it.
        return NOWHERE


class Newcomers:
    """`ports.users.UserFinder` for registrations: a name of which the filter has not heard is not looked up.

    It may be taken all the same, by somebody added elsewhere; then the unique index refuses it, for the price of a hash.
    Nobody may be told 404 by this.
    """

    def __init__(self, users: UserFinder, *, existence: ExistenceFilter) -> None:
        self._users = users
        self._existence = existence
        self._spared = 0

    async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """The credentials of whoever has *identifier*; None also if somebody has it of whom the filter has not heard."""
        if not self._existence.might_contain(identifier):
            self._spared += 1
            return None
        return await self._users.find(identifier)

    def take_spared(self) -> int:
        """How many look-ups the filter has spared since this was asked last."""
        spared, self._spared = self._spared, 0
        return spared
