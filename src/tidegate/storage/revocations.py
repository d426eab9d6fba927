"""Tells a process of every revocation and every changed profile, by LISTEN: the line that needs no queue (ADR 0023)."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

from tidegate.storage.connections import Driver, connect
from tidegate.storage.failures import unavailable
from tidegate.storage.statements import statements

CHANNEL: Final = "tidegate_revoked"
"""What a trigger of schema.sql notifies when a session is revoked; the payload is its id."""

PROFILE_CHANNEL: Final = "tidegate_profile"
"""What a trigger of schema.sql notifies when a profile has changed; the payload is the user's id."""

APPLICATION_NAME: Final = "tidegate revocations"

_LOAD_TIMEOUT_S: Final = 10.0
_RECONNECT_PAUSE_S_MIN: Final = 0.05
_RECONNECT_PAUSE_S_MAX: Final = 1.0


class Hears(Protocol):
    """What is told by this line; `feed.knowledge.Knowledge` is it."""

    @property
    def remembered_s(self) -> float:
        """How long a revocation is remembered."""

    @property
    def trusted_s(self) -> float:
        """How long a proof counts."""

    def begin(self) -> None:
        """This line tells of every change from now on."""

    def revoked(self, session_id: UUID, *, age_s: float = 0.0) -> None:
        """A session was revoked."""

    def profile_changed(self, user_id: UUID) -> None:
        """A profile was changed."""

    def prove(self, sent_at: float) -> None:
        """Every revocation acknowledged before that moment of the monotonic clock has been told."""

    def forget(self) -> None:
        """Drop what is too old to matter."""


class RevocationFeed:
    """Listens to the primary, and proves up to when it has told of everything.

    Why nothing is missed. Whoever revokes a session, a trigger notifies in the same transaction, so PostgreSQL delivers the
    notice if and only if the revocation is committed. The feed listens first and loads the recent revocations afterwards:
    what was committed before the load is in it, what is committed later finds us listening.

    Why a heartbeat is proof. PostgreSQL signals every listening backend before it answers the COMMIT of the notifier, and a
    backend sends the notices it has been signalled before it says that it is ready for the next statement
    (tcop/postgres.c: ProcessNotifyInterrupt, then ReadyForQuery). So once a statement that we sent at time t on the
    listening connection is answered, every revocation acknowledged before t has been delivered to us: it lies before the
    answer in the same stream of bytes, and the driver runs the listener before it wakes whoever waits for the answer. The
    age of what we know therefore counts from the moment the heartbeat was *sent*, not from its answer.

    Why a hung connection is not trusted. Where the line is cut, or the server, this process or its event loop stands still,
    no heartbeat is answered and nothing is proven; `feed.knowledge` sees by the monotonic clock how old the last proof is.
    A server that answers without telling is found out by what the heartbeat asks: whether this very backend listens, and is
    not a standby (a primary that was demoted would answer for ever).
    What the feed cannot see is a pooler that hands its statements to changing backends: it needs a connection of its own.
    """

    def __init__(
        self,
        *,
        dsn: str,
        hears: Hears,
        heartbeat_s: float = 0.3,
        connect_timeout_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is connected before `start`.

        Args:
            dsn: Of the primary, not through a pooler.
            hears: Is told.
            heartbeat_s: Between two heartbeats.
            connect_timeout_s: For one attempt to connect.
            monotonic: In seconds; tests hold it.
        """
        self._dsn = dsn
        self._hears = hears
        self._heartbeat_s = heartbeat_s
        self._connect_timeout_s = connect_timeout_s
        self._monotonic = monotonic
        self._proven_at = float("-inf")
        self._following: asyncio.Task[None] | None = None

    @property
    def age_s(self) -> float:
        """How old what this line has proven is; infinite before the first proof."""
        return self._monotonic() - self._proven_at

    async def start(self) -> None:
        """Begin to listen."""
        self._following = asyncio.create_task(self._follow())

    async def aclose(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    async def _follow(self) -> None:
        pause_s = _RECONNECT_PAUSE_S_MIN
        while True:
            proven_at = self._proven_at
            with contextlib.suppress(Exception):  # whatever it is, the feed is tried again and not trusted meanwhile
                await self._listen()
            if self._proven_at > proven_at:
                pause_s = _RECONNECT_PAUSE_S_MIN
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
            pause_s = min(pause_s * 2, _RECONNECT_PAUSE_S_MAX)

    async def _listen(self) -> None:
        """Follow the feed on one connection for as long as it is sound, then raise what the driver says."""
        connection = await connect(
            self._dsn,
            connect_timeout_s=self._connect_timeout_s,
            statement_timeout_s=_LOAD_TIMEOUT_S,
            application_name=APPLICATION_NAME,
        )
        try:
            await connection.add_listener(CHANNEL, self._hear)
            await connection.add_listener(PROFILE_CHANNEL, self._hear_of_profile)
            self._hears.begin()
            await self._load(connection)
            while True:
                await asyncio.sleep(self._heartbeat_s)
                await self._beat(connection)
                self._hears.forget()
        finally:
            connection.terminate()

    async def _load(self, connection: Driver) -> None:
        sent_at = self._monotonic()
        horizon = timedelta(seconds=self._hears.remembered_s)
        for row in await connection.fetch(statements()["recent_revocations"], horizon):
            self._hears.revoked(row["session_id"], age_s=row["age_s"])
        self._prove(sent_at)

    async def _beat(self, connection: Driver) -> None:
        sent_at = self._monotonic()
        row = await connection.fetchrow(statements()["feed_heartbeat"], timeout=self._hears.trusted_s)
        if row is None or not row["is_sound"]:
            raise unavailable()
        self._prove(sent_at)

    def _prove(self, sent_at: float) -> None:
        self._proven_at = sent_at
        self._hears.prove(sent_at)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        # Anybody who may connect to the database may notify: what is not an id is not ours.
        with contextlib.suppress(ValueError):
            self._hears.revoked(UUID(str(payload)))

    def _hear_of_profile(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        with contextlib.suppress(ValueError):
            self._hears.profile_changed(UUID(str(payload)))
