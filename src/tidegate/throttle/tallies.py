"""What one process knows of each counter: what it counted itself, and what it last heard of the others."""

import asyncio
from collections import OrderedDict, deque
from typing import Final

from tidegate.domain.throttling import Counter, CounterKind, Limit

_LOOKED_AT_MAX: Final = 16
"""How many busy tallies may stand at the old end before the table grows instead; they are as few as requests under way."""


class Tally:
    """One counter.

    It holds the greater of two truths: what this process counted itself, which nobody can take from it, and what all nodes
    counted together, which Valkey may forget.

    Attributes:
        key: What is counted.
        kind: Of what kind that is.
        limit: How much is allowed.
        is_counting: Whether anything may be counted. Most logins never fail, and what has no count costs least.
        under_way: Attempts that have been let through and may yet fail.
        waiters: Attempts that may begin when one of those ends.
        holders: Who needs this tally to stay, whatever it holds.
        unsent: Of what was counted here, what the others have not been told.
        is_read: The others have been asked about the window before.
    """

    __slots__ = (
        "_own",
        "_own_before",
        "_shared",
        "_shared_before",
        "_window",
        "holders",
        "is_counting",
        "is_read",
        "key",
        "kind",
        "limit",
        "under_way",
        "unsent",
        "waiters",
    )

    def __init__(self, counter: Counter, limit: Limit) -> None:
        self.kind, self.key = counter
        self.limit = limit
        self.is_counting = self.is_read = False
        self.under_way = self.holders = self.unsent = 0
        self.waiters: deque[asyncio.Future[None]] | None = None
        self._window = self._own = self._own_before = self._shared = self._shared_before = 0

    def window(self, now_s: float) -> int:
        """The window that is current; what is older than the one before it is forgotten."""
        window = int(now_s // self.limit.window_s)
        if window != self._window:
            if window == self._window + 1:
                self._own_before = self._own
                self._shared_before = self._shared + self.unsent
            else:
                self._own_before = self._shared_before = 0
            # What was not sent belongs to a window that is over: the others go without it.
            self._own = self._shared = self.unsent = 0
            self._window = window
            self.is_counting = bool(self._own_before or self._shared_before)
        return window

    def wait_s(self, now_s: float) -> float:
        """How long until one more fits; 0.0: now, if nothing is under way."""
        if not self.is_counting:
            return 0.0
        self.window(now_s)
        current, previous = self._current, self._previous
        # However much of the window before still counts, all of it would fit: so it is for nearly everybody.
        if current + previous < self.limit.at_most:
            return 0.0
        return self.limit.wait_s(current=current, previous=previous, now_s=now_s)

    def room(self, now_s: float) -> int:
        """How many more may begin now, if all that are under way fail."""
        if not self.is_counting:
            return self.limit.at_most - self.under_way
        self.window(now_s)
        counted = self.limit.counted(current=self._current, previous=self._previous, now_s=now_s)
        return int(self.limit.at_most - counted) - self.under_way

    def count(self, now_s: float) -> None:
        """Count one here."""
        self.window(now_s)
        self._own += 1
        self.unsent += 1
        self.is_counting = True

    def take_unsent(self) -> int:
        """What the others are about to be told."""
        taken, self.unsent = self.unsent, 0
        self._shared += taken
        return taken

    def hear(self, window: int, current: int, previous: int | None = None) -> None:
        """Believe what all nodes together counted in *window*, and in the one before where that is told too."""
        if window != self._window:
            return
        self._shared = current
        if previous is not None:
            self._shared_before = previous
            self.is_read = True
        self.is_counting = bool(self._current or self._previous)

    def clear(self) -> None:
        """Forget everything that was counted."""
        self._own = self._own_before = self._shared = self._shared_before = self.unsent = 0
        self.is_counting = False

    @property
    def is_idle(self) -> bool:
        """Whether nobody needs it to stay."""
        return not (self.holders or self.unsent)

    @property
    def is_near_limit(self) -> bool:
        """Whether this window alone holds a quarter of the limit."""
        return 4 * self._current >= self.limit.at_most

    @property
    def _current(self) -> int:
        return max(self._own, self._shared + self.unsent)

    @property
    def _previous(self) -> int:
        return max(self._own_before, self._shared_before)


class Tallies:
    """The tallies of this process, the longest unused of which go when there are too many.

    Args:
        limits: Of every kind that is limited.
        tallies_max: A bound on memory: each takes some 400 octets.
    """

    def __init__(self, limits: dict[CounterKind, Limit], *, tallies_max: int) -> None:
        self._limits = limits
        self._max = tallies_max
        self._by_key: OrderedDict[bytes, Tally] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, counter: Counter) -> Tally | None:
        """The tally of *counter*, if there is one."""
        return self._by_key.get(counter.key)

    def take(self, counter: Counter) -> Tally | None:
        """The tally of *counter*, made if there is none; None where there is no limit."""
        key = counter.key
        tally = self._by_key.get(key)
        if tally is not None:
            self._by_key.move_to_end(key)
            return tally
        limit = self._limits.get(counter.kind)
        if limit is None:
            return None
        tally = self._by_key[key] = Tally(counter, limit)
        if len(self._by_key) > self._max:
            self._forget_one()
        return tally

    def release(self, tally: Tally) -> None:
        """One holder less; what holds nothing and is held by nobody goes."""
        tally.holders -= 1
        if not (tally.holders or tally.is_counting or tally.unsent):
            self._by_key.pop(tally.key, None)

    def _forget_one(self) -> None:
        for _ in range(_LOOKED_AT_MAX):
            key, oldest = next(iter(self._by_key.items()))
            if oldest.is_idle:
                del self._by_key[key]
                return
            self._by_key.move_to_end(key)
