"""Lets a second line follow the changes only while the first proves nothing, for each listener costs the primary."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

LATE_S: Final = 0.6
"""The age of what the first line has proven at which the second begins: less than the trust, so that a second line which is
quick leaves no gap in it, and twice what a line that is well ever reaches."""

STEADY_S: Final = 10.0
"""So long the first line must have been well without a break before the second ends."""

_LOOK_S: Final = 0.1


class Line(Protocol):
    """A way to hear of changes."""

    async def start(self) -> None:
        """Begin to follow."""

    async def aclose(self) -> None:
        """Stop following; it may be started again."""


class StandBy:
    """Starts and ends the second line. Nothing rests on it: where it is late, the primary is asked."""

    def __init__(
        self, *, first_age_s: Callable[[], float], second: Line, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing happens before `run`.

        Args:
            first_age_s: How old what the first line has proven is.
            second: Not started.
            monotonic: In seconds; tests hold it.
        """
        self._first_age_s = first_age_s
        self._second = second
        self._monotonic = monotonic
        self._is_on = False
        self._late_at = monotonic()

    async def run(self) -> None:
        """Look at the first line until this is cancelled; the second has ended then."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(_LOOK_S)
        finally:
            if self._is_on:
                await self._second.aclose()

    async def look(self) -> None:
        """Start or end the second line, if it is time."""
        now = self._monotonic()
        if self._first_age_s() > LATE_S:
            self._late_at = now
            if not self._is_on:
                self._is_on = True
                await self._second.start()
        elif self._is_on and now - self._late_at > STEADY_S:
            self._is_on = False
            await self._second.aclose()
