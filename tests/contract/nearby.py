"""What whoever finds users nearby promises: lateness may give an older password, never nobody."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from tests.contract.stories import told
from tests.contract.users import IDENTIFIERS, new_user
from tidegate.domain.users import IdentifierKind, LoginIdentifier, NewUser, StoredCredentials
from tidegate.ports.users import NearbyUsers


class Adding(Protocol):
    """The part of `ports.users.UserWriter` that is needed here."""

    async def add(self, user: NewUser) -> None:
        """Store *user*, on the primary."""


class NearbyStore(NearbyUsers, Adding, Protocol):
    """Users who can be added, and found at once."""


async def _add_bob(users: Adding) -> UUID:
    """A user with all three identifiers."""
    bob = new_user(**{kind.value: value for kind, value in IDENTIFIERS.items()})
    await users.add(bob)
    return bob.user_id


class NearbyContract:
    """What every NearbyUsers promises."""

    def opened(self) -> AbstractAsyncContextManager[NearbyStore]:
        """One without users."""
        raise NotImplementedError

    @told
    async def test_who_was_added_is_found_at_once_by_each_identifier(self, users: NearbyStore) -> None:
        """Promise P2, however late a replica may be."""
        bob = await _add_bob(users)
        for kind, value in IDENTIFIERS.items():
            assert await users.find_nearby(LoginIdentifier(kind, value)) == StoredCredentials(bob, "stored")

    @told
    async def test_each_of_many_is_found_as_soon_as_added(self, users: NearbyStore) -> None:
        for number in range(50):
            await users.add(new_user(username=f"user-{number}", password_hash=f"stored-{number}"))
            found = await users.find_nearby(LoginIdentifier(IdentifierKind.USERNAME, f"user-{number}"))
            assert found is not None
            assert found.stored_password == f"stored-{number}"

    @told
    async def test_nobody_is_none_and_not_an_error(self, users: NearbyStore) -> None:
        for kind, value in IDENTIFIERS.items():
            assert await users.find_nearby(LoginIdentifier(kind, value)) is None

    @told
    async def test_an_identifier_is_found_only_as_what_it_is(self, users: NearbyStore) -> None:
        await _add_bob(users)
        for kind, value in IDENTIFIERS.items():
            for other in set(IdentifierKind) - {kind}:
                assert await users.find_nearby(LoginIdentifier(other, value)) is None
