"""Lets attempts through or makes them wait; never later than the cache answers, and without it by what it knows itself."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tidegate.domain.errors import TooManyAttempts
from tidegate.domain.throttling import Counter, CounterKind, Limit
from tidegate.ports.throttling import Increment, SharedCounters
from tidegate.throttle.tallies import Tallies, Tally

_GATHER_S: Final = 0.1
"""How long failures that nobody waits for gather before the others are told; so much more may slip through elsewhere."""

_WAITERS_MAX: Final = 1_024
"""Attempts that may wait for one counter; more of one caller's own logins at once than that are refused."""

_CROWDED_RETRY_S: Final = 1.0

_HEARD_WHEN_TOLD: Final = frozenset({CounterKind.ADDRESS})
"""Whose number a login does not ask for: whoever fails here hears it with the failure, and who does not need not know."""

_OF_THE_CALLER_ALONE: Final = frozenset({CounterKind.PAIR, CounterKind.DEVICE})
"""What a success clears. Not the user's counter: behind the user's own logins others could guess from many addresses."""


class CountingThrottle:
    """`ports.throttling.Throttle`.

    A counter that this process knows to be at its limit refuses without asking anybody. Else the others are asked, if they
    can be: one look at all counters of the attempt, together with whoever else asks in that turn of the event loop.
    """

    def __init__(
        self,
        *,
        limits: Mapping[CounterKind, Limit],
        shared: SharedCounters | None,
        now: Callable[[], float],
        tallies_max: int,
        on_refused: Callable[[CounterKind], None],
    ) -> None:
        """Nothing runs before the first call.

        Args:
            limits: Of every kind.
            shared: What all nodes count; None: this process counts alone.
            now: Seconds since 1970, as all nodes tell them.
            tallies_max: How many counters are remembered here.
            on_refused: Told of each refusal.
        """
        self._shared = shared
        self._now = now
        self._tallies = Tallies({kind: limit for kind, limit in limits.items() if limit.at_most}, tallies_max=tallies_max)
        self._on_refused = on_refused
        self._unsent: dict[bytes, Tally] = {}
        self._flush_due: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Task[None]] = set()

    async def admit(self, counters: Sequence[Counter]) -> "CountedAttempt":
        """See `ports.throttling.Throttle.admit`."""
        tallies = [tally for counter in counters if (tally := self._tallies.take(counter)) is not None]
        for tally in tallies:
            tally.holders += 1
        try:
            self._refuse_if_full(tallies)
            if self._shared is not None and self._shared.is_up:
                asked = [tally for tally in tallies if tally.kind not in _HEARD_WHEN_TOLD]
                if asked and await self._ask(self._shared, asked):
                    self._refuse_if_full(tallies)
            await self._until_uncrowded(tallies)
        except BaseException:
            for tally in tallies:
                self._tallies.release(tally)
            raise
        for tally in tallies:
            tally.under_way += 1
        return CountedAttempt(self, tallies)

    def check(self, counters: Sequence[Counter]) -> None:
        """See `ports.throttling.Throttle.check`."""
        for counter in counters:
            tally = self._tallies.find(counter)
            if tally is not None:
                self._refuse_if_full([tally])

    def count(self, counters: Sequence[Counter]) -> None:
        """See `ports.throttling.Throttle.count`."""
        tallies = [tally for counter in counters if (tally := self._tallies.take(counter)) is not None]
        self._refuse_if_full(tallies)
        self._count(tallies)
        if self._unsent and self._flush_due is None:
            self._flush_due = asyncio.get_running_loop().call_later(_GATHER_S, self._flush)

    async def aclose(self) -> None:
        """Tell the others what they have not been told."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush()
        await asyncio.gather(*self._flushing, return_exceptions=True)

    async def fail(self, tallies: Sequence[Tally]) -> None:
        """Count a failed attempt, and tell the others now, with whatever had gathered for them in these counters."""
        self._count(tallies)
        if self._shared is not None:
            for tally in tallies:
                self._unsent.pop(tally.key, None)
            await self._tell(self._shared, tallies)

    def succeed(self, tallies: Sequence[Tally]) -> None:
        """Clear what belongs to the caller alone."""
        for tally in tallies:
            if tally.is_counting and tally.kind in _OF_THE_CALLER_ALONE:
                tally.clear()
                self._unsent.pop(tally.key, None)
                if self._shared is not None:
                    self._shared.clear(_buckets(tally, tally.window(self._now())))

    def end(self, tallies: Sequence[Tally]) -> None:
        """Free the places of an attempt, and let go on who waited for them."""
        for tally in tallies:
            tally.under_way -= 1
            if tally.waiters:
                self._wake(tally)
            self._tallies.release(tally)

    def _refuse_if_full(self, tallies: Sequence[Tally]) -> None:
        longest_s, fullest = 0.0, None
        for tally in tallies:
            if tally.is_counting and (wait_s := tally.wait_s(self._now())) > longest_s:
                longest_s, fullest = wait_s, tally
        if fullest is not None:
            self._on_refused(fullest.kind)
            raise TooManyAttempts(retry_after_s=longest_s)

    async def _ask(self, shared: SharedCounters, tallies: Sequence[Tally]) -> bool:
        """Hear what the others counted; whether anything may be counted now."""
        now_s = self._now()
        windows = [tally.window(now_s) for tally in tallies]
        buckets: list[bytes] = []
        for tally, window in zip(tallies, windows, strict=True):
            buckets += _buckets(tally, window)
        found = await shared.read(buckets)
        if found is None:
            return True
        if not any(found) and not any(tally.is_counting for tally in tallies):
            return False
        for tally, window, current, previous in zip(tallies, windows, found[::2], found[1::2], strict=True):
            tally.hear(window, current, previous)
        return True

    def _crowded(self, tallies: Sequence[Tally]) -> Tally | None:
        for tally in tallies:
            if (tally.is_counting or tally.under_way >= tally.limit.at_most) and tally.room(self._now()) <= 0:
                return tally
        return None

    async def _until_uncrowded(self, tallies: Sequence[Tally]) -> None:
        """Wait until there is a place in every tally.

        Whoever waits on a tally is woken: there is an attempt under way in it that will end, else it would be full.
        """
        woken_by: Tally | None = None
        try:
            while crowded := self._crowded(tallies):
                if woken_by is not None and woken_by is not crowded:
                    self._wake(woken_by)  # its place is not taken by us after all
                woken_by = None
                await self._until_woken(crowded)
                woken_by = crowded
                self._refuse_if_full(tallies)
        except BaseException:
            if woken_by is not None:
                self._wake(woken_by)
            raise

    async def _until_woken(self, crowded: Tally) -> None:
        waiters = crowded.waiters = crowded.waiters or deque()
        if len(waiters) >= _WAITERS_MAX:
            self._on_refused(crowded.kind)
            raise TooManyAttempts(retry_after_s=_CROWDED_RETRY_S)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            with suppress(ValueError):
                waiters.remove(turn)
            if not turn.cancelled():  # it was woken as well, and the place is another's now
                self._wake(crowded)
            raise

    def _wake(self, tally: Tally) -> None:
        waiters, now_s = tally.waiters, self._now()
        # When it is full now, all of them are to be refused, and nobody would wake them later.
        count = len(waiters or ()) if tally.wait_s(now_s) else tally.room(now_s)
        while waiters and count > 0:
            turn = waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1

    def _count(self, tallies: Sequence[Tally]) -> None:
        now_s = self._now()
        for tally in tallies:
            tally.count(now_s)
            if self._shared is None or not self._shared.is_up:
                tally.unsent = 0  # what is not told now is never told: Valkey begins anew when it is back
            else:
                self._unsent[tally.key] = tally

    def _flush(self) -> None:
        self._flush_due = None
        if self._unsent and self._shared is not None:
            unsent, self._unsent = list(self._unsent.values()), {}
            task = asyncio.get_running_loop().create_task(self._tell(self._shared, unsent))
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)

    async def _tell(self, shared: SharedCounters, tallies: Sequence[Tally]) -> None:
        now_s = self._now()
        increments, told = [], []
        for tally in tallies:
            window = tally.window(now_s)
            if by := tally.take_unsent():
                increments.append(Increment(_bucket(tally, window), by, 2 * tally.limit.window_s))
                told.append((tally, window))
        if not increments:
            return
        sums = await shared.add(increments)
        if sums is not None:
            for (tally, window), current in zip(told, sums, strict=True):
                tally.hear(window, current)
        # The window before matters to who comes near the limit; of most addresses there is one failure and no more.
        unread = [tally for tally, _ in told if not tally.is_read and tally.is_near_limit]
        if unread:
            await self._ask(shared, unread)


def _bucket(tally: Tally, window: int) -> bytes:
    return b"%b:%d" % (tally.key, window)


def _buckets(tally: Tally, window: int) -> tuple[bytes, bytes]:
    """Of *window* and of the one before."""
    return b"%b:%d" % (tally.key, window), b"%b:%d" % (tally.key, window - 1)


class CountedAttempt:
    """`ports.throttling.Attempt`."""

    __slots__ = ("_tallies", "_throttle")

    def __init__(self, throttle: CountingThrottle, tallies: Sequence[Tally]) -> None:
        self._throttle = throttle
        self._tallies = tallies

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._throttle.end(self._tallies)

    async def fail(self) -> None:
        """See `ports.throttling.Attempt.fail`."""
        await self._throttle.fail(self._tallies)

    def succeed(self) -> None:
        """See `ports.throttling.Attempt.succeed`."""
        self._throttle.succeed(self._tallies)
