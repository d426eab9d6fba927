"""Crowds at a scheduler, with a clock in hand: who is served, after how long, and who is told what after how long."""

import heapq
import random
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from tidegate.domain.lanes import Lane
from tidegate.passwords.scheduler import Job, Scheduler


class Caller:
    """Somebody who waits, until told otherwise."""

    def __init__(self) -> None:
        self.has_gone = False

    def done(self) -> bool:
        return self.has_gone


def a_scheduler(
    *, threads: int = 1, queue_max: int = 8, wait_s_max: float = 10, in_turn_max: int = 2, hash_s: float = 0.01
) -> Scheduler:
    return Scheduler(threads=threads, queue_max=queue_max, wait_s_max=wait_s_max, in_turn_max=in_turn_max, hash_s=hash_s)


def a_job(lane: Lane = Lane.LOGIN, name: object = None, *, kind: Hashable = None, key: Hashable = None) -> Job:
    return Job(lane, name, kind=kind, key=key, callers=[Caller()])


@dataclass
class Seen:
    """What became of one lane.

    Attributes:
        served_after_s: How long each who was served had waited for the end of the hash.
        started_after_s: And for its beginning.
        refused_after_s: How long each who was refused had waited for that answer.
        left: How many hung up before either.
        in_vain: How many hashes were begun for somebody who had hung up.
    """

    served_after_s: list[float] = field(default_factory=list)
    started_after_s: list[float] = field(default_factory=list)
    refused_after_s: list[float] = field(default_factory=list)
    left: int = 0
    in_vain: int = 0


class Crowd:
    """People who come at random, whatever becomes of the others, and a scheduler that they meet.

    Args:
        scheduler: Empty.
        arrivals_per_s: How many come to each lane in a second.
        hash_s: How long one hash takes alone; two in turn take 1.6 times as long.
        slowed: By how much hashes that start now are slowed.
        patience_s: After which they hang up.
        seed: For chance.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        arrivals_per_s: Mapping[Lane, float],
        *,
        hash_s: float,
        slowed: Callable[[float], float] = lambda _now: 1.0,
        patience_s: float | None = None,
        seed: int = 1,
    ) -> None:
        self.seen: dict[Lane, Seen] = {}
        self._scheduler = scheduler
        self._arrivals_per_s = arrivals_per_s
        self._hash_s = hash_s
        self._slowed = slowed
        self._patience_s = patience_s
        self._chance = random.Random(seed)
        self._came: dict[Job, float] = {}
        self._free = scheduler.threads
        self._now = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.look_anew()
        for lane in arrivals_per_s:
            self._next_comes(lane)

    def look_anew(self) -> None:
        """Forget what was seen so far."""
        self.seen = {lane: Seen() for lane in Lane}

    def run(self, *, seconds: float) -> dict[Lane, Seen]:
        """Let *seconds* of the scheduler's clock go by, and return what was seen in each lane."""
        while self._events and self._events[0][0] < seconds:
            self._now, _, happens = heapq.heappop(self._events)
            self._refused(self._scheduler.expire(self._now))
            happens()
            while self._free and (jobs := self._scheduler.take(self._now)):
                self._start(jobs)
        return self.seen

    def _in(self, seconds: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now + seconds, next(self._numbers), happens))

    def _next_comes(self, lane: Lane) -> None:
        self._in(self._chance.expovariate(self._arrivals_per_s[lane]), partial(self._comes, lane))

    def _comes(self, lane: Lane) -> None:
        self._next_comes(lane)
        job = a_job(lane, kind="all alike")
        self._came[job] = self._now
        refused = self._scheduler.add(job, self._now)
        self._refused([] if refused is None else [refused])
        if self._patience_s is not None and refused is not job:
            self._in(self._patience_s, partial(self._hangs_up, job))

    def _hangs_up(self, job: Job) -> None:
        if job in self._came:
            del self._came[job]
            self.seen[job.lane].left += 1
            job.callers[0].has_gone = True
            self._scheduler.leave(job)

    def _start(self, jobs: list[Job]) -> None:
        self._free -= 1
        for job in jobs:
            seen = self.seen[job.lane]
            seen.in_vain += job not in self._came
            seen.started_after_s.append(self._now - self._came.get(job, self._now))
        in_turn = 1.6 if len(jobs) == 2 else 1
        took_s = self._hash_s * self._slowed(self._now) * self._chance.uniform(0.9, 1.1) * in_turn
        self._in(took_s, partial(self._end, jobs, took_s))

    def _end(self, jobs: list[Job], took_s: float) -> None:
        self._scheduler.finish(jobs, took_s)
        self._free += 1
        for job in jobs:
            if job in self._came:
                self.seen[job.lane].served_after_s.append(self._now - self._came.pop(job))

    def _refused(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.seen[job.lane].refused_after_s.append(self._now - self._came.pop(job))
