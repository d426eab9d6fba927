"""The storage on a real database, in the shape that the contracts ask for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from tests.contract.jobs import LoginPut
from tests.contract.sessions import LIFETIMES
from tidegate.domain.sessions import SessionLifetimes
from tidegate.storage.idempotency import PostgresIdempotencyKeys
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.sessions import PostgresSessions
from tidegate.storage.user_administration import UserAdministration
from tidegate.storage.users import PostgresUsers

ACCESS_TOKEN_TTL_S_MAX = 300.0


@asynccontextmanager
async def opened_pool(dsn: str, *, size: int = 8, statement_timeout_s: float = 10.0) -> AsyncIterator[PrimaryPool]:
    """A pool, closed on the way out."""
    pool = PrimaryPool(
        dsn=dsn, size=size, acquire_timeout_s=10.0, statement_timeout_s=statement_timeout_s, connect_timeout_s=5.0
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.aclose()


@asynccontextmanager
async def bystander(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of somebody else, to look at the tables and to hold locks."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


class PostgresWorld:
    """Users and sessions in one database, and what a test does around them."""

    def __init__(
        self, pool: PrimaryPool, outside: "asyncpg.Connection[asyncpg.Record]", lifetimes: SessionLifetimes = LIFETIMES
    ) -> None:
        self.pool = pool
        self.outside = outside
        self.users = PostgresUsers(pool)
        self.sessions = PostgresSessions(pool, lifetimes=lifetimes)
        self.keys = PostgresIdempotencyKeys(pool)
        self.administration = UserAdministration(pool)

    async def jobs(self) -> list[LoginPut]:
        rows = await self.outside.fetch(
            "SELECT user_id, created_at FROM jobs WHERE kind = 'login_succeeded' ORDER BY job_id"
        )
        return [LoginPut(row["user_id"], row["created_at"]) for row in rows]

    async def let_pass(self, seconds: float) -> None:
        await self.outside.execute(
            "UPDATE sessions SET created_at = created_at - $1::interval, last_used_at = last_used_at - $1::interval,"
            " rotated_at = rotated_at - $1::interval, revoked_at = revoked_at - $1::interval,"
            " idle_expires_at = idle_expires_at - $1::interval, absolute_expires_at = absolute_expires_at - $1::interval,"
            " cleanup_due_at = cleanup_due_at - $1::interval",
            timedelta(seconds=seconds),
        )

    async def disable(self, user_id: UUID) -> None:
        assert await self.administration.disable(user_id)

    async def delete(self, user_id: UUID) -> None:
        assert await self.administration.delete(user_id)

    async def count(self) -> int:
        return int(await self.outside.fetchval("SELECT count(*) FROM sessions"))

    async def let_keys_age(self, seconds: float) -> None:
        query = "UPDATE idempotency_keys SET expires_at = expires_at - $1::interval"
        await self.outside.execute(query, timedelta(seconds=seconds))

    async def count_keys(self) -> int:
        return int(await self.outside.fetchval("SELECT count(*) FROM idempotency_keys"))


@asynccontextmanager
async def opened_world(dsn: str) -> AsyncIterator[PostgresWorld]:
    """The world of *dsn*."""
    async with opened_pool(dsn) as pool, bystander(dsn) as outside:
        yield PostgresWorld(pool, outside)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what other processes do, of which nothing tells."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)


async def until_waiting_or_done(world: PostgresWorld, *tasks: asyncio.Future[Any]) -> None:
    """Until each of *tasks* has run into a lock, or through."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database() AND application_name = 'tidegate'"
    )

    async def is_so() -> bool:
        waiting: int = await world.outside.fetchval(query)
        return waiting >= sum(not task.done() for task in tasks)

    await until(is_so)
