"""Does the jobs, publishes them and cleans up, round by round, for as long as the process lives and whatever fails."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

_FAILURE_PAUSE_S_MIN: Final = 0.1
_FAILURE_PAUSE_S_MAX: Final = 5.0
"""After a failed round, doubling, each drawn from its half to its whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Something that is done again and again.

    Attributes:
        work: One round; True when the next may follow at once.
        rest_s: How long to wait when it may not.
        bell: Ends that wait when it is set, by whoever knows that there is something to do; None: nobody knows before.
    """

    work: Callable[[], Awaitable[bool]]
    rest_s: float
    bell: asyncio.Event | None = None


class WorkerLoop:
    """One worker. Any number may run beside each other. What goes round in one circle holds up no other."""

    def __init__(
        self,
        rounds: Sequence[Rounds],
        *,
        on_failure: Callable[[Exception], None],
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            rounds: What to do, all beside each other.
            on_failure: Told of every round that failed; the round is tried again.
            monotonic: In seconds; tests hold it.
            draw: From 0 to 1, for the jitter of pauses.
        """
        self._rounds = tuple(rounds)
        self._on_failure = on_failure
        self._monotonic = monotonic
        self._draw = draw
        self._stopping = asyncio.Event()
        self._due_at = [monotonic()] * len(self._rounds)
        self._bells = [each.bell or asyncio.Event() for each in self._rounds]

    async def run(self) -> None:
        """Work until `stop`."""
        await asyncio.gather(*(self._go_round(number, each) for number, each in enumerate(self._rounds)))

    def stop(self) -> None:
        """Let `run` return when the rounds under way are done."""
        self._stopping.set()
        for bell in self._bells:
            bell.set()

    @property
    def overdue_s(self) -> float:
        """How late the latest round is, in seconds; grows while the database is away, or a round hangs."""
        return max(0.0, self._monotonic() - min(self._due_at))

    async def _go_round(self, number: int, rounds: Rounds) -> None:
        pause_s = _FAILURE_PAUSE_S_MIN
        while not self._stopping.is_set():
            try:
                is_more = await rounds.work()
            except Exception as failure:
                self._on_failure(failure)
                await _rest(self._stopping, pause_s * (0.5 + 0.5 * self._draw()))
                pause_s = min(pause_s * 2, _FAILURE_PAUSE_S_MAX)
            else:
                self._due_at[number] = self._monotonic() + (0.0 if is_more else rounds.rest_s)
                pause_s = _FAILURE_PAUSE_S_MIN
                if not is_more:
                    await _rest(self._bells[number], rounds.rest_s)
                    self._bells[number].clear()  # what rings from now on, the next round may not see


async def _rest(until: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(until.wait(), seconds)
    except TimeoutError:
        return
