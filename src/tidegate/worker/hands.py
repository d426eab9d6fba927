"""Does the jobs of one lane: those that the queue names, or, while that is away, those that wait in the table.

Either way the row decides. Effect and removal of the row are one transaction, so a job that is delivered twice, to
whomever, is found done; and a message is acknowledged only when its row is gone or says when it is tried again. So whatever
is killed between any two lines of this, each job takes effect once (promise P8).

A batch in which the worker ends, or which the database cuts off, is found so by whoever takes its jobs next: each is then
tried alone, and counted before it is. So one that kills its workers is dead in the end, and holds up no other meanwhile.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple, TypeVar

from tidegate.domain.errors import Unavailable
from tidegate.domain.jobs import UNFINISHED, Job, NoticeUndelivered, back_off_s, halves
from tidegate.ports.jobs import Carrier, JobBatch, Jobs
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
        found = await self._try(self._jobs.take_named(self._lane.kinds, named))
        missing = set(named).difference(found.seen)
        return found.held | (await self._jobs.unfinished(sorted(missing)) if missing else frozenset())

    async def _poll(self) -> bool:
        found = await self._try(self._jobs.take(self._lane.kinds, at_most=self._lane.at_once_max))
        return len(found.seen) - len(found.held) == self._lane.at_once_max

    async def _try(self, taking: AbstractAsyncContextManager[JobBatch]) -> "_Found":
        """Do a batch, and then one by one what was found apart."""
        batch: JobBatch | None = None
        try:
            async with taking as batch:
                if batch.jobs:
                    await self._lane.do(batch)
        except Unavailable:
            raise
        except Exception as error:
            if batch is None or not batch.jobs:
                raise
            held = await self._find_fault(batch.jobs, error)
        else:
            held = frozenset(batch.kept)
            self._note_done(len(batch.jobs) - len(held))
        held |= await self._try_apart(batch.apart)
        return _Found(frozenset(job.job_id for job in (*batch.jobs, *batch.apart)), held)

    async def _find_fault(self, taken: Sequence[Job], error: Exception) -> frozenset[int]:
        """Halve a batch that failed until the job at fault is alone: the others take effect, it is put off or dead."""
        if len(taken) > 1:
            first, second = halves([job.job_id for job in taken])
            return await self._do(first) | await self._do(second)
        await self._note_failure(taken[0], error)
        return frozenset()

    async def _try_apart(self, apart: Sequence[Job]) -> frozenset[int]:
        """Try each of *apart* alone, those last that ended badly most often; return what is neither done nor put off.

        No further than to the first that the database cuts off, so that a round, and who waits for its end, takes no longer
        than that; the next round begins with the others.
        """
        held: frozenset[int] = frozenset()
        apart = sorted(apart, key=lambda job: job.tries)
        for place, job in enumerate(apart):
            if job.tries >= self._lane.tries_max:
                await self._end_try(job.job_id, job.tries, UNFINISHED)
                continue
            batch: JobBatch | None = None
            try:
                async with self._jobs.take_alone(job, again_after_s=self._back_off_s(job.tries + 1)) as batch:
                    if batch.jobs:
                        await self._lane.do(batch)
            except Unavailable:
                if batch is None or not batch.jobs:
                    raise
                self._watcher.failed(self._lane.name, UNFINISHED, is_dead=False)  # it is counted in its row already
                return held | {later.job_id for later in apart[place + 1 :]}
            except Exception as error:
                if batch is None or not batch.jobs:
                    raise
                await self._note_failure(job, error)
            else:
                self._note_done(len(batch.jobs) - len(batch.kept))
                held |= batch.kept if batch.jobs else await self._jobs.unfinished([job.job_id])
        return held

    async def _note_failure(self, job: Job, error: Exception) -> None:
        why = (error.why if isinstance(error, NoticeUndelivered) else type(error).__name__)[:_ERROR_CHARACTERS_MAX]
        await self._end_try(job.job_id, job.tries + 1, why)

    async def _end_try(self, job: int, tries: int, why: str) -> None:
        is_dead = tries >= self._lane.tries_max
        if is_dead:
            await self._jobs.bury(job, tries=tries, error=why)
        else:
            await self._jobs.put_off(job, tries=tries, error=why, again_after_s=self._back_off_s(tries))
        self._watcher.failed(self._lane.name, why, is_dead=is_dead)

    def _back_off_s(self, tries: int) -> float:
        return back_off_s(tries, share=self._draw())

    def _note_done(self, count: int) -> None:
        if count:
            self._watcher.done(self._lane.name, count)


class _Found(NamedTuple):
    """What came of taking a batch.

    Attributes:
        seen: The jobs that were there and that nobody else held.
        held: Those, or others, that are neither done nor put off.
    """

    seen: frozenset[int]
    held: frozenset[int]


async def _all_of(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Let all end, however one does, then raise what one raised: nothing of a round goes on behind its back."""
    ended = await asyncio.gather(*works, return_exceptions=True)
    results: list[T] = []
    for outcome in ended:
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results
