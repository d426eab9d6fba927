"""The lease of the existence filter on a real database, and what goes on around it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from tests.integration.storage.worlds import bystander, opened_pool, until
from tidegate.storage.existence import ExistenceDatabase, open_existence_database
from tidegate.storage.users import PostgresUsers

Somebody: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

NOTE = 4_242_424_242
_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2 AND mode = 'ShareLock' AND granted"
ADD = "INSERT INTO users (userid, username, password) VALUES (gen_random_uuid(), $1, 'x')"


class LeaseWorld:
    """A keeper's connection, an API process's users, and somebody with psql."""

    def __init__(self, keeper: ExistenceDatabase, users: PostgresUsers, somebody: Somebody, dsn: str) -> None:
        self.keeper = keeper
        self.users = users
        self.somebody = somebody
        self.dsn = dsn

    async def win(self) -> None:
        """Have the lease."""
        assert await self.keeper.hold()
        assert await self.keeper.claim(NOTE)
        assert await self.keeper.win(NOTE)
        assert await self.renewed()

    async def renewed(self) -> bool:
        return await self.keeper.renew(NOTE, timeout_s=10.0)

    async def names(self, *, since: int | None = None) -> set[bytes]:
        """What a scan finds."""
        found: list[bytes] = []

        async def take(names: list[bytes]) -> None:
            found.extend(names)

        await self.keeper.scan(take, since=since)
        assert len(found) == len(set(found))
        return set(found)

    async def until_waiting(self, *tasks: asyncio.Future[Any]) -> None:
        """Until all of *tasks* are held up by the lease."""

        async def are_waiting() -> bool:
            assert not any(task.done() for task in tasks)
            return await self.look(_WAITING) == len(tasks)

        await until(are_waiting)

    async def look(self, query: str) -> int:
        """A number, asked for on a connection of its own."""
        async with bystander(self.dsn) as other:
            found: int = await other.fetchval(query)
            return found


@asynccontextmanager
async def opened_lease(dsn: str) -> AsyncIterator[LeaseWorld]:
    """Nobody decides alone yet."""
    async with (
        open_existence_database(dsn=dsn, connect_timeout_s=5.0) as keeper,
        opened_pool(dsn, size=2) as pool,
        bystander(dsn) as somebody,
    ):
        yield LeaseWorld(keeper, PostgresUsers(pool), somebody, dsn)


def told(dsn: str, story: Callable[[LeaseWorld], Awaitable[None]]) -> None:
    """Tell *story* on the database *dsn*."""

    async def tell() -> None:
        async with opened_lease(dsn) as world:
            await story(world)

    asyncio.run(tell())


def begun(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """Start *coroutine* beside the story."""
    return asyncio.create_task(coroutine)
