"""Keeps the filter: gathers it from the database, makes a larger one when it is full, and has the lease of deciding alone.

One keeper a node, in a process of its own: to gather is work of seconds, which would stand in the way of requests.

Why a "no" is final while the lease stands (ADR 0014). The lease is of one filter, which the database knows by its note.
1. To win it: claim it; by then every transaction that was adding users has ended; scan what they have left, and add it to
   the filter; turn the claim into the lease. Whoever adds a user from the claim on either has noted the user in this very
   filter, and says so in the same statement, or the database takes the claim away.
2. While it stands, the database makes whoever adds a user without having noted them here wait before the commit: until we
   have given way, or until the lease has lapsed, which we see for ourselves by the clock.
So whoever is registered and not in this filter was registered after the lease had ended. Whatever goes wrong with us, with
the line or with the database, the lease is not renewed, and every "no" is confirmed again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol
from uuid import UUID

from tidegate.domain.errors import DatabaseUnavailable
from tidegate.existence.blocks import Marks, blocks_for, capacity_for
from tidegate.existence.memory import CURRENT, FilterMemory, blocks_of, now_ns
from tidegate.existence.news import News

Report = Callable[[str, Exception | None], None]
"""Takes a sentence, and what caused it if that was an error."""

LEASE_S: Final = 0.8
"""From the sending of a renewal that was granted. A waiter waits 1 s: the rest is for clocks that do not run alike."""

_RENEW_S: Final = 0.2
"""Between two renewals: so long a waiter waits at most for us to give way."""

_LAPSE_S: Final = 1.0
"""After the death of another keeper, until nobody can believe in its lease any more."""

_LOOK_S: Final = 1.0
"""How often it is looked whether the filter has become full."""

_GATHERING_S: Final = 0.1
"""Between two looks at what others have added: their names are fetched together."""

_PAUSE_S_MIN: Final = 1.0
_PAUSE_S_MAX: Final = 60.0
"""Before the next attempt at the lease, doubling: where others add users all the time, each attempt costs one of them a
fifth of a second, and the database a look through the table."""

_STEADY_S: Final = 60.0
"""A lease that stood so long makes the next pause the shortest."""

_NS: Final = 1_000_000_000


class NamesAndLease(Protocol):
    """What the keeper needs of the primary; `storage.existence.ExistenceDatabase` is it."""

    async def hold(self) -> bool:
        """Become the one keeper that may have the lease, until the connection ends; False: another is."""

    async def lease(self) -> int:
        """The note of the filter that decides alone; negative while that filter is only claimed; 0: none does."""

    async def claim(self, note: int) -> bool:
        """Claim the lease for the filter *note*; a scan that begins then finds whoever was added before."""

    async def win(self, note: int) -> bool:
        """Turn the claim into the lease; False if it has ended."""

    async def renew(self, note: int, *, timeout_s: float) -> bool:
        """Whether the lease stands and nobody waits for its end."""

    async def give_up(self, note: int) -> None:
        """End the lease. Only once nobody relies on it."""

    async def horizon(self) -> int:
        """A moment: whatever is committed before is seen by every scan that begins later."""

    async def count(self) -> int:
        """How many names there are."""

    async def scan(self, take: Callable[[list[bytes]], Awaitable[None]], *, since: int | None) -> None:
        """Hand over every name, or those that came since a horizon of this connection."""

    async def names_of(self, user_ids: list[UUID]) -> list[bytes]:
        """All names of these users, as far as they exist."""


class Keeper:
    """Keeps one node's filter until it is cancelled."""

    def __init__(
        self,
        *,
        memory: FilterMemory,
        open_database: Callable[[], AbstractAsyncContextManager[NamesAndLease]],
        decides_alone: bool,
        report: Report,
        news: News | None = None,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            memory: What the node's processes share.
            open_database: Opens a connection.
            decides_alone: Whether to have the lease; False: every "no" is confirmed, here and for ever.
            report: Is told now and then, for the log.
            news: What is heard of names that others add; None: nothing is.
        """
        self._memory = memory
        self._open_database = open_database
        self._decides_alone = decides_alone
        self._report = report
        self._news = news
        self._pause_s = _PAUSE_S_MIN
        self._next_attempt_ns = 0
        self._is_away = False
        """Whether the database failed at what was asked last, so that an outage is told of once."""
        self._scanned: tuple[int, int] | None = None
        """The note of the filter that has all that was committed before a horizon, and that horizon."""

    async def run(self) -> None:
        """Keep the filter; what the database cannot now is tried again."""
        while True:
            # What was seen on another connection counts for nothing: that may have been another history of this database.
            self._scanned = None
            try:
                async with self._open_database() as database:
                    await self._keep(database)
            except DatabaseUnavailable as error:
                if not self._is_away:
                    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
                    self._report("the database fails the existence filter; trying again each second", cause)
                self._is_away = True
            await asyncio.sleep(_LOOK_S)

    async def _keep(self, database: NamesAndLease) -> None:
        while True:
            if self._memory.is_wanting():
                await self._gather(database)
            elif not self._decides_alone:
                self._note_answer()  # it has let us in, and more is not asked of it
                if self._news is None:
                    await asyncio.sleep(_LOOK_S)
                else:
                    await self._follow(database, self._news)
            elif now_ns() >= self._next_attempt_ns:
                await self._decide(database)
            else:
                await asyncio.sleep(_LOOK_S)

    def _note_answer(self) -> None:
        if self._is_away:
            self._is_away = False
            self._report("the database serves the existence filter again", None)

    async def _gather(self, database: NamesAndLease) -> None:
        """Make a new filter of all that is in the database, with room for more."""
        began_ns = now_ns()
        filter_ = await self._memory.begin(blocks_for(capacity_for(await database.count())))
        horizon = await database.horizon()
        marks = Marks(blocks_of(filter_))

        async def take(names: list[bytes]) -> None:
            marks.take(names)

        await database.scan(take, since=None)
        await self._memory.merge(filter_, marks)
        await self._memory.publish()
        self._scanned = self._memory.note_of(filter_), horizon
        self._report(f"{marks.names} names are in the existence filter, after {(now_ns() - began_ns) / _NS:.1f} s", None)

    async def _follow(self, database: NamesAndLease, news: News) -> None:
        """Add the names that others have added, soon; after an interruption whatever came since the last look."""
        if news.is_behind:
            began_at = news.begin_to_catch_up()
            try:
                await self._look_through(database)
            except BaseException:
                news.is_behind = True
                raise
            news.caught_up(began_at)
        filter_ = self._memory.words[CURRENT]
        user_ids, proven_at = news.take()
        try:
            if user_ids:
                await self._memory.add(filter_, await database.names_of(user_ids))
        except BaseException:
            news.put_back(user_ids)
            raise
        if proven_at > 0:
            self._memory.fed_until(int(proven_at * _NS))
        await asyncio.sleep(_GATHERING_S)
        await news.stirring(at_most_s=_LOOK_S)

    async def _look_through(self, database: NamesAndLease) -> None:
        """Add all names in the table, or those that came since we looked through it last."""
        filter_ = self._memory.words[CURRENT]
        note = self._memory.note_of(filter_)
        horizon = await database.horizon()

        async def take(names: list[bytes]) -> None:
            await self._memory.add(filter_, names)

        known = self._scanned
        await database.scan(take, since=known[1] if known is not None and known[0] == note else None)
        self._scanned = note, horizon

    async def _decide(self, database: NamesAndLease) -> None:
        """Win the lease, and hold it for as long as it goes well."""
        if not await database.hold():
            self._note_answer()
            self._next_attempt_ns = now_ns() + int(_LAPSE_S * _NS)
            return
        try:
            if await self._win(database):
                await self._hold(database)
        finally:
            self._next_attempt_ns = now_ns() + int(self._pause_s * _NS)
            self._pause_s = min(_PAUSE_S_MAX, self._pause_s * 2)

    async def _win(self, database: NamesAndLease) -> bool:
        filter_ = self._memory.words[CURRENT]
        note = self._memory.note_of(filter_)
        lease = await database.lease()
        if lease == note:  # ours still: a keeper before us had it, and nobody has taken it away
            return True
        if lease > 0:
            await asyncio.sleep(_LAPSE_S)
        if not await database.claim(note):
            return False
        await self._look_through(database)
        return await database.win(note)

    async def _hold(self, database: NamesAndLease) -> None:
        """Let the filter decide alone until it is full, until somebody waits for us to give way, or until it goes wrong."""
        note = self._memory.note_of(self._memory.words[CURRENT])
        began_ns = now_ns()
        self._note_answer()
        self._report('the existence filter decides alone: its "no" is final', None)
        try:
            while not self._memory.is_wanting():
                sent_ns = now_ns()
                if not await database.renew(note, timeout_s=LEASE_S):
                    break
                self._memory.decide_until(sent_ns + int(LEASE_S * _NS))
                await asyncio.sleep(_RENEW_S)
        finally:
            self._memory.decide_until(0)
            if now_ns() - began_ns > _STEADY_S * _NS:
                self._pause_s = _PAUSE_S_MIN
            self._report('a "no" of the existence filter is confirmed from now on', None)
            with contextlib.suppress(DatabaseUnavailable):
                await database.give_up(note)
