"""Tells the time that tokens go by: this node's clock, or the primary's where it shows ours to be wrong (ADR 0030)."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

OFF_S_MAX: Final = 2.0
"""How far our clock may be from the primary's and still be gone by. Two nodes may be off by so much in opposite directions,
and half a second more each that a slow answer hides: what the leeway of the verifier forgives. NTP keeps clocks within
milliseconds, so nobody comes near it who has a time server."""

AGREES_S_MAX: Final = 1.0
"""Within this of the primary's a clock that was wrong is gone by again: under the bound above, so that one near it does not
make tokens change clocks to and fro."""

_since_boot: Final = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Nobody sets it, and it goes on while the machine sleeps."""


class CheckedClock:
    """The time, checked against the primary's clock now and then.

    Between two checks it goes on with the seconds since the machine's boot, whatever anybody sets our clock to: the check
    that sees a jump also tells whether to go by it, so no token is ever dated by a jump that is wrong.

    What a check proves. The primary read its clock between our question and its answer, so what it showed when the seconds
    since boot were 0 lies between two numbers, however long the answer took and whichever half of the way took longer. Our
    clock is wrong when it is too far from all that lies between them, and right again when it is near all of that. So a
    slow answer proves little, and never anything false.
    """

    __slots__ = ("_monotonic", "_shown_at_0", "_wall", "is_corrected", "off_s")

    def __init__(self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = _since_boot) -> None:
        """Go by *wall* until a check.

        Args:
            wall: Our clock, seconds since 1970.
            monotonic: In seconds, from any beginning.
        """
        self._wall = wall
        self._monotonic = monotonic
        self._shown_at_0 = wall() - monotonic()
        self.is_corrected = False
        """Whether the primary's time counts now."""
        self.off_s = 0.0
        """By how much our clock was at least ahead of the primary's at the last check; negative: behind it."""

    def now(self) -> float:
        """The time that tokens go by, seconds since 1970."""
        return self._shown_at_0 + self._monotonic()

    async def check(self, ask: Callable[[], Awaitable[float]]) -> None:
        """Compare our clock with the primary's.

        Args:
            ask: Returns what the primary's clock shows at some moment of the call, seconds since 1970. What it raises
                is raised, and nothing has changed then.
        """
        asked_at = self._monotonic()
        theirs = await ask()
        least, most = theirs - self._monotonic(), theirs - asked_at
        ours = self._wall() - self._monotonic()
        self.off_s = ours - min(max(ours, least), most)
        if self.is_corrected:
            self.is_corrected = max(most - ours, ours - least) > AGREES_S_MAX
        else:
            self.is_corrected = abs(self.off_s) > OFF_S_MAX
        if not self.is_corrected:
            self._shown_at_0 = ours
        elif not least <= self._shown_at_0 <= most:  # else it is as good as any, and the time makes no jump
            self._shown_at_0 = (least + most) / 2
