"""The feed of changes: by which lines an API process hears of what others change, and how a worker tells of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Final, Never

from tidegate.config import Settings
from tidegate.existence.news import News
from tidegate.feed.condensing import Condensing
from tidegate.feed.follower import Follower
from tidegate.feed.hearing import Hearing
from tidegate.feed.knowledge import Knowledge
from tidegate.feed.relay import Relay
from tidegate.feed.standby import StandBy
from tidegate.observability import metrics
from tidegate.observability.log import JsonLog
from tidegate.queue.changes import QueuedChanges, QueuedTeller
from tidegate.queue.connection import QueueConnection
from tidegate.storage.changes import PostgresChanges
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.revocations import RevocationFeed
from tidegate.storage.sessions import PostgresSessions
from tidegate.wiring.parts import background, open_primary, open_queue

_now: Final = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Goes on while the machine sleeps, so that what was known before the sleep is not taken for fresh after it."""

_RELAY_CONNECTIONS: Final = 1
"""Of its own: no batch of jobs may hold up what others wait for."""

_CONNECTING_S: Final = 2.0
"""How long the queue may take at a start."""

_CONDENSE_INTERVAL_S: Final = 10.0
"""Where this worker has no queue to tell changes to: how often it looks whether others do."""

_GAUGE_INTERVAL_S: Final = 0.5


def make_knowledge(settings: Settings, sessions: PostgresSessions) -> Knowledge:
    """What this process is to know; nothing yet."""
    return Knowledge(primary=sessions, access_token_ttl_s_max=settings.access_token_ttl_s, monotonic=_now)


@asynccontextmanager
async def following(
    settings: Settings, knowledge: Knowledge, *, primary: PrimaryPool, queue: QueueConnection | None
) -> AsyncIterator[None]:
    """Let *knowledge* hear of changes: through the queue, by LISTEN while that is late; without a queue by LISTEN alone."""
    listening = RevocationFeed(dsn=settings.primary_dsn, hears=knowledge, monotonic=_now)
    async with AsyncExitStack() as opened:
        if queue is None:
            await listening.start()
            opened.push_async_callback(listening.aclose)
            await opened.enter_async_context(background(_gauge(knowledge, None)))
        else:
            hearing = Hearing(knowledge, recent=PostgresChanges(primary).recent_revocations, monotonic=_now)
            follower = Follower(stream=QueuedChanges(queue), listener=hearing, monotonic=_now)
            await follower.start()
            opened.push_async_callback(follower.aclose)
            standby = StandBy(first_age_s=lambda: follower.age_s, second=listening, monotonic=_now)
            await opened.enter_async_context(background(standby.run()))
            await opened.enter_async_context(background(_gauge(knowledge, follower)))
        yield


async def _gauge(knowledge: Knowledge, follower: Follower | None) -> Never:
    while True:
        metrics.REVOCATIONS_FED.set(knowledge.is_trusted)
        metrics.FEED_AGE.set(knowledge.age_s)
        metrics.FEED_QUEUED.set(follower is not None and follower.age_s <= knowledge.trusted_s)
        await asyncio.sleep(_GAUGE_INTERVAL_S)


@asynccontextmanager
async def hearing_of_names(settings: Settings, log: JsonLog) -> AsyncIterator[News | None]:
    """What the keeper of an existence filter hears of names that any node adds; None: there is no queue to tell it."""
    async with open_queue(settings, log, name="tidegate existence") as queue:
        if queue is None:
            yield None
            return
        news = News(monotonic=_now)
        follower = Follower(stream=QueuedChanges(queue), listener=news, monotonic=_now)
        await follower.start()
        try:
            yield news
        finally:
            await follower.aclose()


@asynccontextmanager
async def relaying(settings: Settings, queue: QueueConnection | None, log: JsonLog) -> AsyncIterator[None]:
    """Tell the nodes of changes; where there is no queue, keep the table of what nobody tells small.

    Raises:
        DatabaseUnavailable: The primary cannot be reached at start.
    """
    async with AsyncExitStack() as opened:
        primary = await opened.enter_async_context(open_primary(settings, connections=_RELAY_CONNECTIONS))
        waiting = PostgresChanges(primary)
        if queue is None:
            await opened.enter_async_context(background(_condense(waiting, log)))
        else:
            teller = QueuedTeller(queue)
            failures = _Failures(log)
            relay = Relay(waiting=waiting, teller=teller, on_failure=failures.note, on_done=failures.end)
            await opened.enter_async_context(background(teller.hear_questions(relay.asked)))
            await opened.enter_async_context(background(_relay(relay, queue)))
        yield


async def _relay(relay: Relay, queue: QueueConnection) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_CONNECTING_S):  # that it is still connecting is no failure to tell of
            await queue.until_up()
    await relay.run()


class _Failures:
    """Tells the log once of each outage, not five times a second."""

    def __init__(self, log: JsonLog) -> None:
        self._log = log
        self._is_failing = False

    def note(self, failure: Exception) -> None:
        if not self._is_failing:
            self._log.event("error", "feed", "changes cannot be told and will be tried again", failure)
        self._is_failing = True

    def end(self) -> None:
        if self._is_failing:
            self._log.event("info", "feed", "changes are told again")
        self._is_failing = False


async def _condense(waiting: PostgresChanges, log: JsonLog) -> Never:
    condensing = Condensing(waiting=waiting, monotonic=_now)
    while True:
        try:
            await condensing.look()
        except Exception as failure:
            log.event("error", "feed", "the table of changes could not be cleared and will be tried again", failure)
        await asyncio.sleep(_CONDENSE_INTERVAL_S)
