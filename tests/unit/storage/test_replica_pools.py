"""A read is proven before it is made."""

import asyncio
from typing import Any

import pytest

from tidegate.storage.connections import ReplicaConnection
from tidegate.storage.failures import ReplicaBehind
from tidegate.storage.replica_pools import Position, ReplicaPool


class FakeConnection(ReplicaConnection):
    """A connection to a replica that has replayed up to 100."""

    def __init__(self) -> None:  # without a driver
        self._replayed = -1
        self.asked: list[str] = []

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        self.asked.append(statement)
        return []

    async def fetchrow(self, statement: str, *values: object) -> Any:
        self.asked.append(statement)
        return {"replayed": 100}

    @property
    def is_usable(self) -> bool:
        return True


def pool_with(connection: FakeConnection) -> ReplicaPool:
    pool = ReplicaPool(dsn="", size=1, acquire_timeout_s=1, statement_timeout_s=1, connect_timeout_s=1)
    pool._free.append(connection)
    return pool


def test_the_position_is_read_before_the_rows() -> None:
    """Afterwards, or within the same statement, it would say nothing of the snapshot that the rows are read from."""
    connection = FakeConnection()
    asyncio.run(pool_with(connection).fetch("find_users_by_username", seen=Position(100)))
    assert connection.asked == ["replayed", "find_users_by_username"]


def test_what_is_known_already_is_not_asked_again() -> None:
    """A position never falls while the replica runs, and the connection ends with it."""
    connection = FakeConnection()

    async def ask() -> None:
        pool = pool_with(connection)
        for position in (100, 99, 100):
            await pool.fetch("find_users_by_username", seen=Position(position))

    asyncio.run(ask())
    assert connection.asked.count("replayed") == 1


def test_what_it_has_not_replayed_is_not_read() -> None:
    connection = FakeConnection()
    with pytest.raises(ReplicaBehind):
        asyncio.run(pool_with(connection).fetch("find_users_by_username", seen=Position(101)))
    assert connection.asked == ["replayed"]
