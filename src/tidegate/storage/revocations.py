"""Knows every revoked session whose access tokens may still be about, without asking the database for each request."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from typing import Final, Protocol
from uuid import UUID

from tidegate.storage.connections import Driver, connect
from tidegate.storage.failures import unavailable
from tidegate.storage.statements import statements

CHANNEL: Final = "tidegate_revoked"
"""What sql/sessions.sql notifies; the payload is the session's id."""

PROFILE_CHANNEL: Final = "tidegate_profile"
"""What sql/users.sql notifies when a profile has changed; the payload is the user's id."""

APPLICATION_NAME: Final = "tidegate revocations"

FORGET_MARGIN_S: Final = 60.0
"""How much longer than an access token may live its session is remembered.

A token is signed after its session was written, so by as long as a request may take it can be younger than the revocation;
the rest is for clocks that differ."""

_LOAD_TIMEOUT_S: Final = 10.0
_RECONNECT_PAUSE_S_MIN: Final = 0.05
_RECONNECT_PAUSE_S_MAX: Final = 1.0
_FORGOTTEN_AT_ONCE_MAX: Final = 10_000
"""A bound on what one heartbeat forgets, so that the event loop is never held up for more than a few milliseconds."""


class LiveSessions(Protocol):
    """Whom to ask while the feed is lost: the part of `ports.Sessions` that does it."""

    async def is_live(self, session_id: UUID) -> bool:
        """Whether the session is neither revoked nor expired, by the primary."""


class ProfileWatcher(Protocol):
    """Who wants to hear of changes of profiles, which come on the same connection."""

    def heard(self, user_id: UUID) -> None:
        """The profile of *user_id* has changed."""

    def interrupted(self) -> None:
        """Changes may have been missed; those from now on will be told."""


class RevocationFeed:
    """`ports.Revocations`: listens to the primary, and knows when what it heard is not to be relied on.

    Why nothing is missed. Whatever revokes a session notifies in the same transaction, so PostgreSQL delivers the notice if
    and only if the revocation is committed. The feed listens first and loads the recent revocations afterwards: what was
    committed before the load is in it, what is committed later finds us listening.

    Why a heartbeat is proof. PostgreSQL signals every listening backend before it answers the COMMIT of the notifier, and a
    backend sends the notices it has been signalled before it says that it is ready for the next statement
    (tcop/postgres.c: ProcessNotifyInterrupt, then ReadyForQuery). So once a statement that we sent at time t on the
    listening connection is answered, every revocation acknowledged before t has been delivered to us: it lies before the
    answer in the same stream of bytes, and the driver runs the listener before it wakes whoever waits for the answer. The
    age of what we know therefore counts from the moment the heartbeat was *sent*, not from its answer.

    Why a hung connection is not trusted. Where the line is cut, or the server, this process or its event loop stands still,
    no heartbeat is answered, and `is_revoked` sees for itself, by the monotonic clock, that the last good one was sent too
    long ago; no timer or task has to run for that. A server that answers without telling is found out by what the heartbeat
    asks: whether this very backend listens, and is not a standby (a primary that was demoted would answer for ever).
    What the feed cannot see is a pooler that hands its statements to changing backends: it needs a connection of its own.
    """

    def __init__(
        self,
        *,
        dsn: str,
        primary: LiveSessions,
        access_token_ttl_s_max: float,
        heartbeat_s: float = 0.3,
        trusted_s: float = 0.8,
        connect_timeout_s: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is connected before `start`.

        Args:
            dsn: Of the primary, not through a pooler.
            primary: Asked while the feed is lost.
            access_token_ttl_s_max: How long an access token may live, jitter included.
            heartbeat_s: Between two heartbeats.
            trusted_s: How old the last good heartbeat may be; under 1 s for what `ports.Revocations` promises.
            connect_timeout_s: For one attempt to connect.
            monotonic: In seconds; tests hold it.
        """
        self._dsn = dsn
        self._primary = primary
        self._remembered_s = access_token_ttl_s_max + FORGET_MARGIN_S
        self._heartbeat_s = heartbeat_s
        self._trusted_s = trusted_s
        self._connect_timeout_s = connect_timeout_s
        self._monotonic = monotonic
        self._forget_at: dict[UUID, float] = {}  # in the order of being forgotten, as revocations come in order
        self._known_until = float("-inf")
        self._loaded = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._watchers: list[ProfileWatcher] = []

    def tell(self, watcher: ProfileWatcher) -> None:
        """Let *watcher* hear of changes of profiles; before `start`."""
        self._watchers.append(watcher)

    async def start(self) -> None:
        """Begin to follow the feed; until it is there, the primary is asked."""
        self._following = asyncio.create_task(self._follow())

    async def until_loaded(self) -> None:
        """Wait until the feed has been there once."""
        await self._loaded.wait()

    async def aclose(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    async def is_revoked(self, session_id: UUID) -> bool:
        """See `ports.Revocations.is_revoked`."""
        if session_id in self._forget_at:
            return True
        if self.is_trusted:
            return False
        return not await self._primary.is_live(session_id)

    @property
    def is_trusted(self) -> bool:
        """Whether what is not known to be revoked is not revoked."""
        return self._monotonic() - self._known_until <= self._trusted_s

    @property
    def remembered(self) -> int:
        """How many revoked sessions are known."""
        return len(self._forget_at)

    async def _follow(self) -> None:
        pause_s = _RECONNECT_PAUSE_S_MIN
        while True:
            known_until = self._known_until
            with contextlib.suppress(Exception):  # whatever it is, the feed is tried again and not trusted meanwhile
                await self._listen()
            if self._known_until > known_until:
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
            for watcher in self._watchers:
                watcher.interrupted()
            await self._load(connection)
            while True:
                await asyncio.sleep(self._heartbeat_s)
                await self._beat(connection)
                self._forget()
        finally:
            connection.terminate()

    async def _load(self, connection: Driver) -> None:
        sent_at = self._monotonic()
        horizon = timedelta(seconds=self._remembered_s)
        for row in await connection.fetch(statements()["recent_revocations"], horizon):
            self._forget_at.setdefault(row["session_id"], sent_at + self._remembered_s - row["age_s"])
        self._known_until = sent_at
        self._loaded.set()

    async def _beat(self, connection: Driver) -> None:
        sent_at = self._monotonic()
        row = await connection.fetchrow(statements()["feed_heartbeat"], timeout=self._trusted_s)
        if row is None or not row["is_sound"]:
            raise unavailable()
        self._known_until = sent_at

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        # Anybody who may connect to the database may notify: what is not an id is not ours.
        with contextlib.suppress(ValueError):
            self._forget_at.setdefault(UUID(str(payload)), self._monotonic() + self._remembered_s)

    def _hear_of_profile(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        with contextlib.suppress(ValueError):
            user_id = UUID(str(payload))
            for watcher in self._watchers:
                watcher.heard(user_id)

    def _forget(self) -> None:
        now = self._monotonic()
        oldest = list(islice(self._forget_at.items(), _FORGOTTEN_AT_ONCE_MAX))
        for session_id, forget_at in oldest:
            if forget_at > now:
                return
            del self._forget_at[session_id]
