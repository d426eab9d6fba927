"""What may lag lets nobody in and refuses nobody: a login that began at a replica ends with what the primary says."""

from asyncio import run

import pytest

from tests.fakes.passwords import InstantPasswords
from tests.fakes.users import InMemoryUsers
from tests.unit.usecases.world import LIMITS, PASSWORD, World, new_user, username
from tidegate.domain.errors import DatabaseUnavailable, TooManyAttempts, UnknownUser, UserDisabled, WrongPassword
from tidegate.domain.throttling import CounterKind
from tidegate.domain.users import LoginIdentifier, StoredCredentials

NEW_PASSWORD = "battery staple"


class LateUsers:
    """A `ports.users.NearbyUsers` that knows what it is told, and whatever it does not know the primary."""

    def __init__(self) -> None:
        self.primary: InMemoryUsers | None = None
        self.known: dict[LoginIdentifier, StoredCredentials] = {}

    async def find_nearby(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        found = self.known.get(identifier)
        if found is not None or self.primary is None:
            return found
        return await self.primary.find(identifier)


class LateWorld(World):
    """With a replica that knows of one user what was once true."""

    def __init__(self, passwords: InstantPasswords | None = None) -> None:
        self.late = LateUsers()
        super().__init__(passwords, nearby=self.late)
        self.late.primary = self.users

    def add_late(self, *, stored: str, stored_then: str) -> None:
        user_id = self.add_user(stored=stored)
        self.late.known[username("ada")] = StoredCredentials(user_id, stored_then, may_lag=True)


def test_what_the_replica_knows_suffices_where_it_still_holds() -> None:
    """The session's own write has compared it: the user is looked up on the primary by nobody."""
    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(PASSWORD), stored_then=InstantPasswords.current(PASSWORD))
    found = world.users.found
    assert world.logged_in()
    assert world.users.found == found
    assert world.passwords.compared == 1


def test_an_old_password_does_not_let_in() -> None:
    """Promise P3, while the replica still has it."""
    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(NEW_PASSWORD), stored_then=InstantPasswords.current(PASSWORD))
    with pytest.raises(WrongPassword):
        world.logged_in()
    assert world.sessions.count == 0


def test_the_new_password_lets_in_although_the_replica_has_the_old_one() -> None:
    """Promise P9: 403 from fresh data only."""
    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(NEW_PASSWORD), stored_then=InstantPasswords.current(PASSWORD))
    assert world.logged_in(password=NEW_PASSWORD)


def test_a_wrong_password_is_wrong_once_the_primary_has_said_so() -> None:
    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(PASSWORD), stored_then=InstantPasswords.current(PASSWORD))
    found = world.users.found
    with pytest.raises(WrongPassword):
        world.logged_in(password="another")
    assert world.users.found == found + 1
    assert world.passwords.compared == 1, "the same hash need not be computed again"


def test_whoever_has_been_enabled_again_is_let_in() -> None:
    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(PASSWORD), stored_then="!" + InstantPasswords.current(PASSWORD))
    assert world.logged_in()


def test_whoever_has_been_disabled_is_told_so() -> None:
    world = LateWorld()
    world.add_late(stored="!" + InstantPasswords.current(PASSWORD), stored_then=InstantPasswords.current(PASSWORD))
    with pytest.raises(UserDisabled):
        world.logged_in()
    assert world.sessions.count == 0


def test_whoever_has_been_deleted_is_nobody() -> None:
    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(PASSWORD), stored_then=InstantPasswords.current(PASSWORD))
    world.users.remove(world.late.known[username("ada")].user_id)
    for password in (PASSWORD, "another"):
        with pytest.raises(UnknownUser):
            world.logged_in(password=password)


def test_a_name_that_somebody_else_has_by_now_logs_in_that_one() -> None:
    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(PASSWORD), stored_then=InstantPasswords.current(PASSWORD))
    world.users.remove(world.late.known[username("ada")].user_id)
    second = world.ids.user_id()
    run(world.users.add(new_user(second, "ada", InstantPasswords.current(PASSWORD))))
    assert world.logged_in().user_id == second


def test_without_the_primary_nobody_is_refused() -> None:
    """Promise P9: 503, never a guess."""

    class AwayUsers(InMemoryUsers):
        async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
            raise DatabaseUnavailable(retry_after_s=1.0)

    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(PASSWORD), stored_then="!" + InstantPasswords.current(PASSWORD))
    world.users.__class__ = AwayUsers
    for password in (PASSWORD, "another"):
        with pytest.raises(DatabaseUnavailable):
            world.logged_in(password=password)


def test_a_confirmed_failure_is_counted_once_and_a_lateness_never() -> None:
    world = LateWorld()
    world.add_late(stored=InstantPasswords.current(NEW_PASSWORD), stored_then=InstantPasswords.current(PASSWORD))
    for _ in range(LIMITS[CounterKind.PAIR].at_most * 2):
        assert world.logged_in(password=NEW_PASSWORD)
    for _ in range(LIMITS[CounterKind.PAIR].at_most):
        with pytest.raises(WrongPassword):
            world.logged_in()
    with pytest.raises(TooManyAttempts):
        world.logged_in()
