"""Look-ups are spread over the replicas that are well; what fails there, or finds nobody, the primary answers."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from tests.contract.users import new_user
from tests.fakes.users import InMemoryUsers
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.users import IdentifierKind, LoginIdentifier, StoredCredentials
from tidegate.storage.connections import Row
from tidegate.storage.failures import ReplicaBehind, StatementFailed
from tidegate.storage.replica_pools import Position
from tidegate.storage.replica_users import ReadOutcome, Replica, ReplicaUsers

ADA = LoginIdentifier(IdentifierKind.USERNAME, "ada")


class FakeServer:
    """Both what a replica's pool and what its watch say."""

    def __init__(self) -> None:
        self.is_well = True
        self.must_have_seen = Position(42)
        self.opened = 1
        self.rows: dict[str, tuple[UUID, str]] = {}
        self.failure: Exception | None = None
        self.batches: list[Sequence[str]] = []
        self.seen: list[Position] = []
        self.going_on = asyncio.Event()
        self.going_on.set()

    async def fetch(self, statement: str, *values: object, seen: Position) -> Sequence[Row]:
        (asked,) = values
        assert isinstance(asked, list)
        self.batches.append(asked)
        self.seen.append(seen)
        await self.going_on.wait()
        if self.failure is not None:
            raise self.failure
        return [(name, *self.rows[name]) for name in asked if name in self.rows]  # type: ignore[misc] # as rows are read


class World:
    """Two replicas and a primary."""

    def __init__(self) -> None:
        self.servers = [FakeServer(), FakeServer()]
        self.primary = InMemoryUsers()
        self.reads: list[ReadOutcome] = []
        self.users = ReplicaUsers(
            [Replica(server, server) for server in self.servers], primary=self.primary, on_read=self.reads.append
        )

    def add_everywhere(self, name: str = "ada", stored: str = "stored") -> StoredCredentials:
        user = new_user(username=name, password_hash=stored)
        asyncio.run(self.primary.add(user))
        self.primary.found = 0
        for server in self.servers:
            server.rows[name] = (user.user_id, stored)
        return StoredCredentials(user.user_id, stored)

    def find(self, identifier: LoginIdentifier = ADA) -> StoredCredentials | None:
        return asyncio.run(self.users.find_nearby(identifier))


def test_whoever_a_replica_finds_may_lag_and_the_primary_is_not_asked() -> None:
    world = World()
    expected = world.add_everywhere()
    found = world.find()
    assert found == expected
    assert found is not None
    assert found.may_lag
    assert world.primary.found == 0
    assert world.reads == [ReadOutcome.REPLICA]


def test_every_read_must_have_seen_what_the_watch_says() -> None:
    world = World()
    world.add_everywhere()
    world.find()
    assert world.servers[0].seen == [Position(42)]


def test_whoever_no_replica_has_is_looked_for_on_the_primary() -> None:
    """Promise P2: registered a moment ago, and no replica knows yet."""
    world = World()
    expected = world.add_everywhere()
    for server in world.servers:
        server.rows.clear()
    found = world.find()
    assert found == expected
    assert found is not None
    assert not found.may_lag
    assert world.reads == [ReadOutcome.NOBODY]


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (DatabaseUnavailable(retry_after_s=1.0), ReadOutcome.FAILED),
        (StatementFailed("find_users_by_username: 42P01"), ReadOutcome.FAILED),
        (ReplicaBehind(), ReadOutcome.BEHIND),
    ],
)
def test_a_read_that_fails_is_repeated_once_on_the_primary(failure: Exception, outcome: ReadOutcome) -> None:
    world = World()
    expected = world.add_everywhere()
    for server in world.servers:
        server.failure = failure
    assert world.find() == expected
    assert world.primary.found == 1
    assert world.reads == [outcome]
    assert sum(len(server.batches) for server in world.servers) == 1


def test_reads_are_spread() -> None:
    world = World()
    world.add_everywhere()
    for _ in range(10):
        world.find()
    assert [len(server.batches) for server in world.servers] == [5, 5]


def test_one_that_has_begun_to_hang_is_asked_for_no_more() -> None:
    """Before its watch has seen it: it is the one that owes answers."""
    world = World()
    for number in range(20):
        world.add_everywhere(f"user-{number}")
    hanging = world.servers[0]

    async def ask() -> None:
        hanging.going_on.clear()
        waiting = asyncio.create_task(world.users.find_nearby(LoginIdentifier(IdentifierKind.USERNAME, "user-0")))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            for number in range(1, 20):
                await world.users.find_nearby(LoginIdentifier(IdentifierKind.USERNAME, f"user-{number}"))
        hanging.going_on.set()
        await waiting

    asyncio.run(ask())
    assert [len(server.batches) for server in world.servers] == [1, 19]


@pytest.mark.parametrize("lost", ["is_well", "opened"])
def test_a_sick_one_is_left_alone_and_without_a_well_one_the_primary_serves(lost: str) -> None:
    world = World()
    expected = world.add_everywhere()
    setattr(world.servers[0], lost, 0)
    for _ in range(4):
        assert world.find() == expected
    assert [len(server.batches) for server in world.servers] == [0, 4]
    setattr(world.servers[1], lost, 0)
    assert world.find() == expected
    assert world.reads[4:] == [ReadOutcome.NONE_WELL]
    assert world.primary.found == 1


def test_the_look_ups_of_a_moment_share_a_round_trip_to_each_replica() -> None:
    world = World()
    for number in range(20):
        world.add_everywhere(f"user-{number}")

    async def ask() -> None:
        asked = [LoginIdentifier(IdentifierKind.USERNAME, f"user-{number}") for number in range(20)]
        await asyncio.gather(*(world.users.find_nearby(each) for each in asked))

    asyncio.run(ask())
    assert [len(batch) for server in world.servers for batch in server.batches] == [10, 10]


def test_a_replica_is_no_primary_to_the_type_checker() -> None:
    """`ReplicaUsers` has neither the fresh `find` nor `credentials`, so it cannot stand where a `UserReader` must."""
    assert not {"find", "credentials", "add", "rehash", "profile"} & set(dir(ReplicaUsers))
