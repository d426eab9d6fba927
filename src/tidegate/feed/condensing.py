"""Keeps the table of changes small where nobody tells them, and lets it be where somebody does."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

WAITED_S: Final = 60.0
"""A relay that lives removes a change within a tenth of a second, and one without its queue condenses after as long."""


class LongWaiting(Protocol):
    """The changes that no stream has acknowledged yet, on the primary."""

    async def newest(self) -> int | None:
        """The highest id among them; None: there is none."""

    async def condense(self, *, up_to: int | None = None) -> None:
        """Put one change of kind `LOST` in the place of those up to *up_to*, in one transaction."""


class Condensing:
    """What a worker without a queue does about changes.

    Other workers may have a queue, and nodes that hear of changes through it. What waits there is about to be told; if it
    became the word that something was lost, every node would read anew from the primary, as often as we look. So only what
    has been seen to wait for long is condensed: then nobody tells it.
    """

    def __init__(self, *, waiting: LongWaiting, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing happens before `look`.

        Args:
            waiting: Where changes wait.
            monotonic: In seconds; tests hold it.
        """
        self._waiting = waiting
        self._monotonic = monotonic
        self._seen: deque[tuple[float, int]] = deque()

    async def look(self) -> None:
        """Condense what has waited for `WAITED_S`, as far as earlier looks know.

        Raises:
            DatabaseUnavailable: The primary cannot be had.
        """
        now = self._monotonic()
        up_to: int | None = None
        while self._seen and now - self._seen[0][0] >= WAITED_S:
            _, up_to = self._seen.popleft()
        if up_to is not None:
            await self._waiting.condense(up_to=up_to)
        newest = await self._waiting.newest()
        if newest is not None:
            self._seen.append((now, newest))
