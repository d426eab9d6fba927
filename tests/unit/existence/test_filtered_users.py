"""Who looks for somebody asks the filter first, who adds somebody tells it first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.contract.users import UserStoreContract, new_user
from tests.fakes.existence import ExactExistence
from tests.fakes.users import InMemoryUsers
from tests.unit.existence.worlds import opened_world, username
from tidegate.domain.errors import IdentifierTaken
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.users import LoginIdentifier, NewUser, StoredCredentials
from tidegate.existence import filtered_users
from tidegate.existence.filtered_users import FilteredUsers, Newcomers
from tidegate.existence.shared_filter import NOWHERE

ADA = username("ada")


class WatchedUsers(InMemoryUsers):
    """Counts who is asked for, and sees what the filter knows while somebody is added."""

    def __init__(self, existence: ExactExistence) -> None:
        super().__init__()
        self._existence = existence
        self.asked: list[LoginIdentifier] = []
        self.noted_in: list[int] = []
        self.known_before = True

    async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        self.asked.append(identifier)
        return await super().find(identifier)

    async def add(self, user: NewUser, *, noted_in: int = NOWHERE, once: KeyedRequest | None = None) -> None:
        self.noted_in.append(noted_in)
        self.known_before &= user.username in self._existence.names
        await super().add(user, once=once)


class World:
    """Users behind a filter."""

    def __init__(self) -> None:
        self.existence = ExactExistence()
        self.store = WatchedUsers(self.existence)
        self.users = FilteredUsers(self.store, nearby=self.store, existence=self.existence)
        self.newcomers = Newcomers(self.store, existence=self.existence)


class TestFilteredUsers(UserStoreContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FilteredUsers]:
        with opened_world() as world:
            await world.load()
            world.decide(alone=True)
            users = InMemoryUsers()
            yield FilteredUsers(users, nearby=users, existence=world.existence)


class TestFilteredUsersThatAreLookedUp(UserStoreContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FilteredUsers]:
        yield World().users


def test_nobody_is_asked_for_whom_the_filter_surely_lacks() -> None:
    world = World()
    world.existence.decides = True
    assert asyncio.run(world.users.find(ADA)) is None
    assert asyncio.run(world.users.find_nearby(ADA)) is None
    assert world.store.asked == []
    assert world.users.take_spared() == 2
    assert world.users.take_spared() == 0


def test_a_login_finds_its_user_where_reading_is_cheapest() -> None:
    world = World()
    nearby = InMemoryUsers()
    users = FilteredUsers(world.store, nearby=nearby, existence=world.existence)
    asyncio.run(nearby.add(new_user(username="ada")))
    world.existence.names.add("ada")
    assert asyncio.run(users.find_nearby(ADA)) is not None
    assert world.store.asked == []


def test_a_login_of_whom_the_filter_has_not_heard_goes_where_nobody_can_be_told() -> None:
    world = World()
    nearby = InMemoryUsers()
    users = FilteredUsers(world.store, nearby=nearby, existence=world.existence)
    assert asyncio.run(users.find_nearby(ADA)) is None
    assert world.store.asked == [ADA]
    assert nearby.found == 0


@pytest.mark.parametrize(("is_loaded", "decides"), [(True, False), (False, True), (False, False)])
def test_whoever_was_added_by_others_is_found_all_the_same(is_loaded: bool, decides: bool) -> None:
    world = World()
    world.existence.is_loaded, world.existence.decides = is_loaded, decides
    asyncio.run(InMemoryUsers.add(world.store, new_user(username="ada")))
    assert asyncio.run(world.users.find(ADA)) is not None
    assert asyncio.run(world.users.find_nearby(ADA)) is not None


def test_a_user_is_noted_before_being_added_and_the_note_goes_along() -> None:
    world = World()
    asyncio.run(world.users.add(new_user(username="ada", email="ada@example.org", phone_number="+4930123456")))
    assert world.existence.names == {"ada", "ada@example.org", "+4930123456"}
    assert world.store.known_before
    assert world.store.noted_in == [ExactExistence.NOTE]


def test_a_registration_waits_for_the_lock_of_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtered_users, "_LOCK_PAUSE_S", 0)
    world = World()
    world.existence.busy_for = filtered_users._LOCK_TRIES - 1
    asyncio.run(world.users.add(new_user(username="ada")))
    assert world.store.noted_in == [ExactExistence.NOTE]


def test_a_registration_that_cannot_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the lock was stopped in the middle; the database then does as with whom others add."""
    monkeypatch.setattr(filtered_users, "_LOCK_PAUSE_S", 0)
    world = World()
    world.existence.busy_for = 10**6
    asyncio.run(world.users.add(new_user(username="ada")))
    assert world.store.noted_in == [NOWHERE]
    assert asyncio.run(world.users.find(ADA)) is not None


def test_a_registration_that_fails_leaves_a_name_that_might_exist() -> None:
    world = World()
    asyncio.run(InMemoryUsers.add(world.store, new_user(email="ada@example.org")))
    with pytest.raises(IdentifierTaken):
        asyncio.run(world.users.add(new_user(username="ada", email="ada@example.org")))
    world.existence.decides = True
    assert asyncio.run(world.users.find(ADA)) is None
    assert world.store.asked[-1] == ADA, "looked up, for it might exist"


def test_a_registration_looks_up_only_names_that_might_be_taken() -> None:
    world = World()
    asyncio.run(world.users.add(new_user(username="ada")))
    world.store.asked.clear()
    assert asyncio.run(world.newcomers.find(username("bob"))) is None
    assert world.store.asked == []
    assert asyncio.run(world.newcomers.find(ADA)) is not None
    assert world.newcomers.take_spared() == 1


def test_while_the_filter_is_loading_a_registration_looks_up_every_name() -> None:
    world = World()
    world.existence.is_loaded = False
    assert asyncio.run(world.newcomers.find(ADA)) is None
    assert world.store.asked == [ADA]


def test_the_key_of_a_request_is_handed_on_with_the_user() -> None:
    """Else the user would be stored without it, and the repetition refused as taken (ADR 0019)."""
    world = World()
    request, ada = KeyedRequest(b"key", b"request"), new_user(username="ada")
    asyncio.run(world.users.add(ada, once=request))
    assert asyncio.run(world.store.keys.made_by(request)) == ada.user_id
