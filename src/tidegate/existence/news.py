"""The names that others add, as the keeper of the filter hears of them (ADR 0023)."""

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID

from tidegate.domain.changes import Told

_PENDING_MAX: Final = 100_000
"""Users whose names are to be asked for; with more than that the whole table is looked through, which is quicker."""


class News:
    """`feed.follower.Listener` for a keeper, which fetches the names when it has time.

    Attributes:
        is_behind: Somebody may have been added of whom nothing was told: the table has to be looked through.
    """

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        """Know of nothing.

        Args:
            monotonic: In seconds; the clock of the proofs.
        """
        self.is_behind = True
        self._monotonic = monotonic
        self._pending: dict[UUID, None] = {}
        self._proven_at = float("-inf")
        self._stirred = asyncio.Event()
        self._caught_up_at = float("-inf")
        self._caught_up = asyncio.Event()

    async def begin(self) -> float:
        """See `Listener.begin`: waits until the keeper has looked through the table since."""
        began_at = self._monotonic()
        self.is_behind = True
        self._proven_at = float("-inf")
        self._stirred.set()
        while self._caught_up_at < began_at:
            self._caught_up.clear()
            await self._caught_up.wait()
        return self._caught_up_at

    def hear(self, told: Told) -> None:
        """See `Listener.hear`. A changed profile may have a new name, if an operator changed it."""
        self._pending.update(dict.fromkeys((*told.added, *told.changed)))
        if told.added_many or len(self._pending) > _PENDING_MAX:
            self._pending.clear()
            self.is_behind = True
        if self._pending or self.is_behind:
            self._stirred.set()

    def prove(self, sent_at: float) -> None:
        """See `Listener.prove`."""
        self._proven_at = max(self._proven_at, sent_at)
        self._stirred.set()

    def rest(self) -> None:
        """See `Listener.rest`; there is nothing to do."""

    # What follows is the keeper's.

    async def stirring(self, *, at_most_s: float) -> None:
        """Wait until there is something to do."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._stirred.wait()
        except TimeoutError:
            return

    def begin_to_catch_up(self) -> float:
        """The moment before which everything will be in the filter, once the table was looked through from now on."""
        self._stirred.clear()
        self.is_behind = False
        return self._monotonic()

    def caught_up(self, began_at: float) -> None:
        """The table was looked through since *began_at*."""
        self._caught_up_at = began_at
        self._caught_up.set()

    def take(self) -> tuple[list[UUID], float]:
        """The users whose names are to be added, and the moment before which none is missing then."""
        self._stirred.clear()
        taken, self._pending = list(self._pending), {}
        return taken, float("-inf") if self.is_behind else self._proven_at

    def put_back(self, taken: list[UUID]) -> None:
        """They could not be added after all."""
        self._pending.update(dict.fromkeys(taken))
