"""Does the jobs of one lane: those that the queue names, or, while that is away, those that wait in the table.

Either way the row decides. Effect and removal of the row are one transaction, so a job that is delivered twice, to
whomever, is found done; and a message is acknowledged only when its row is gone or says when it is tried again. So whatever
is killed between any two lines of this, each job takes effect once (promise P8).
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from tidegate.domain.errors import Unavailable
from tidegate.domain.jobs import Job, NoticeUndelivered, back_off_s, halves
from tidegate.ports import Carrier, Jobs
from tidegate.worker.lanes import Lane, Watcher

T = TypeVar("T")

PULL_WAIT_S: Final = 1.0
"""How long an empty queue is listened to at a time; a worker that is to stop waits for its end."""

_HELD_ELSEWHERE_S: Final = 0.5
_DATABASE_AWAY_S: Final = 1.0
"""After how long what could not be done now is delivered again."""

_ERROR_CHARACTERS_MAX: Final = 64


class Hands:
    """One lane's hands. Any number may work beside each other, in as many processes: each job is held by one of them."""

    def __init__(
        self,
        lane: Lane,
        *,
        jobs: Jobs,
        carrier: Carrier | None,
        watcher: Watcher,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Nothing happens before `work`.

        Args:
            lane: What to do.
            jobs: Where they wait.
            carrier: Names those that are due; None: there is no queue.
            watcher: Hears what came of each.
            draw: From 0 to 1, for the jitter of pauses.
        """
        self._lane = lane
        self._jobs = jobs
        self._carrier = carrier
        self._watcher = watcher
        self._draw = draw

    async def work(self) -> bool:
        """Do one batch; True when there may be more at once.

        Raises:
            Unavailable: The database is; nothing is lost.
        """
        if self._carrier is not None and self._carrier.is_up:
            pulled = await self._carrier.pull(at_most=self._lane.at_once_max * self._lane.parallel, wait_s=PULL_WAIT_S)
            if pulled is not None:
                if pulled:
                    await self._do_pulled(self._carrier, list(dict.fromkeys(pulled)))
                return True  # the waiting was done at the queue
        return any(await _all_of([self._poll() for _ in range(self._lane.parallel)]))

    async def _do_pulled(self, carrier: Carrier, pulled: Sequence[int]) -> None:
        size = self._lane.at_once_max
        try:
            held = await _all_of([self._do(pulled[start : start + size]) for start in range(0, len(pulled), size)])
        except Exception:
            await carrier.put_back(pulled, delay_s=_DATABASE_AWAY_S)
            raise
        kept = frozenset[int]().union(*held)
        await carrier.settle([job for job in pulled if job not in kept])
        if kept:
            await carrier.put_back(sorted(kept), delay_s=_HELD_ELSEWHERE_S * (0.5 + self._draw()))

    async def _do(self, named: Sequence[int]) -> frozenset[int]:
        """Do what of *named* is there to be done; return what is neither done nor put off: somebody else holds it."""
        taken: Sequence[Job] = ()
        try:
            async with self._jobs.take_named(self._lane.kinds, named) as batch:
                taken = batch.jobs
                if taken:
                    await self._lane.do(batch)
        except Unavailable:
            raise
        except Exception as error:
            if not taken:
                raise
            held = await self._find_fault(taken, error)
        else:
            held = frozenset(batch.kept)
            self._note_done(len(taken) - len(held))
        missing = set(named).difference(job.job_id for job in taken)
        return held | (await self._jobs.unfinished(sorted(missing)) if missing else frozenset())

    async def _poll(self) -> bool:
        taken: Sequence[Job] = ()
        try:
            async with self._jobs.take(self._lane.kinds, at_most=self._lane.at_once_max) as batch:
                taken = batch.jobs
                if taken:
                    await self._lane.do(batch)
        except Unavailable:
            raise
        except Exception as error:
            if not taken:
                raise
            await self._find_fault(taken, error)
        else:
            self._note_done(len(taken) - len(batch.kept))
        return len(taken) - len(batch.kept) == self._lane.at_once_max

    async def _find_fault(self, taken: Sequence[Job], error: Exception) -> frozenset[int]:
        """Halve a batch that failed until the job at fault is alone: the others take effect, it is put off or dead."""
        if len(taken) > 1:
            first, second = halves([job.job_id for job in taken])
            return await self._do(first) | await self._do(second)
        (job,) = taken
        why = (error.why if isinstance(error, NoticeUndelivered) else type(error).__name__)[:_ERROR_CHARACTERS_MAX]
        tries = job.tries + 1
        if tries >= self._lane.tries_max:
            await self._jobs.bury(job.job_id, error=why)
        else:
            await self._jobs.put_off(job.job_id, error=why, again_after_s=back_off_s(tries, share=self._draw()))
        self._watcher.failed(self._lane.name, why, is_dead=tries >= self._lane.tries_max)
        return frozenset()

    def _note_done(self, count: int) -> None:
        if count:
            self._watcher.done(self._lane.name, count)


async def _all_of(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Let all end, however one does, then raise what one raised: nothing of a round goes on behind its back."""
    ended = await asyncio.gather(*works, return_exceptions=True)
    results: list[T] = []
    for outcome in ended:
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results
