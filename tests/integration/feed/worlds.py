"""A relay and a listener, joined by a real NATS, over a real database."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import asyncpg

from tests.integration.storage.worlds import ACCESS_TOKEN_TTL_S_MAX, PostgresWorld, bystander, opened_pool
from tests.support.waiting import GIVE_UP_AFTER_S
from tidegate.feed.follower import Follower
from tidegate.feed.hearing import Hearing
from tidegate.feed.knowledge import Knowledge
from tidegate.feed.relay import Relay
from tidegate.queue.address import read_addresses
from tidegate.queue.changes import QueuedChanges, QueuedTeller
from tidegate.queue.connection import QueueConnection
from tidegate.storage.changes import PostgresChanges
from tidegate.storage.pools import PrimaryPool

QUEUE_TIMEOUT_S = 1.0


class NeverAsked:
    """The feed alone must know."""

    async def is_live(self, session_id: UUID) -> bool:
        raise AssertionError


class FedWorld(PostgresWorld):
    """Users and sessions, and what another process knows of them.

    Attributes:
        revocations: Fed through the queue alone.
        follower: The line that feeds it.
        recent_asked: How often the recent revocations were read from the primary.
    """

    def __init__(self, pool: PrimaryPool, outside: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(pool, outside)
        self.revocations: Knowledge
        self.follower: Follower
        self.recent_asked = 0


@asynccontextmanager
async def connected(url: str, *, timeout_s: float = QUEUE_TIMEOUT_S) -> AsyncIterator[QueueConnection]:
    queue = QueueConnection(read_addresses(url), name="tests", timeout_s=timeout_s, ping_interval_s=0.2)
    queue.start()
    try:
        yield queue
    finally:
        await queue.aclose()


@asynccontextmanager
async def relayed(dsn: str, url: str) -> AsyncIterator[Relay]:
    """A relay that works."""
    async with opened_pool(dsn, size=1) as pool, connected(url) as queue:
        teller = QueuedTeller(queue)
        relay = Relay(waiting=PostgresChanges(pool), teller=teller, on_failure=lambda _: None)
        tasks = [asyncio.create_task(relay.run()), asyncio.create_task(teller.hear_questions(relay.asked))]
        try:
            yield relay
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


@asynccontextmanager
async def fed(dsn: str, url: str, *, trusted_s: float = 0.8, is_proven: bool = True) -> AsyncIterator[FedWorld]:
    """A world whose knowledge comes through the queue, once something has been proven."""
    async with opened_pool(dsn) as pool, bystander(dsn) as outside, connected(url) as queue:
        world = FedWorld(pool, outside)
        world.revocations = Knowledge(
            primary=NeverAsked(), access_token_ttl_s_max=ACCESS_TOKEN_TTL_S_MAX, trusted_s=trusted_s
        )

        async def recent(within_s: float) -> list[tuple[UUID, float]]:
            world.recent_asked += 1
            return await PostgresChanges(pool).recent_revocations(within_s)

        hearing = Hearing(world.revocations, recent=recent)
        world.follower = Follower(stream=QueuedChanges(queue), listener=hearing, heartbeat_s=0.05)
        await world.follower.start()
        try:
            if is_proven:
                async with asyncio.timeout(GIVE_UP_AFTER_S):
                    await world.revocations.until_proven()
            yield world
        finally:
            await world.follower.aclose()


async def proven_since(world: FedWorld, moment: float) -> None:
    """Wait until everything acknowledged before *moment* of the monotonic clock is known."""
    async with asyncio.timeout(GIVE_UP_AFTER_S):
        while world.revocations.known_until < moment:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def proven_now(world: FedWorld) -> None:
    """Wait until everything that has been acknowledged is known."""
    await proven_since(world, time.monotonic())
