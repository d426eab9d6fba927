"""Decides which hash is computed next, who may wait, and who is told at once to come back later.

Rules without threads, futures or clocks: every method is told what the time is, and whoever calls sees to it that only one
thread does. How the rules came about, and what they cost, is told in ADR 0013.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final

from tidegate.domain.lanes import Lane

STANDS_AT: Final = 0.8
"""Share of the longest wait after which whoever waits has probably given up: then a lane goes newest first. By default that
is after 8 s; for 10 s people keep their mind on a page that does not move (Nielsen, Usability Engineering, chapter 5)."""

CROWDED_WAIT: Final = 0.1
"""Share of the longest wait that a lane offers while it is crowded: where somebody must be turned away in any case, a short
queue serves as many as a long one, and all of them sooner."""

LEAVERS: Final = 1 / 4
"""Share of the latest of a lane who hung up before they were served, at which it goes newest first too: served in order,
those whose turn comes are about to leave, and the cores hash for nobody (99 in 100 hashes, in the simulation)."""

TURN: Final = 8
"""Every eighth start is for the lane that has been passed over longest. So no lane starves, and the first keeps 7/8."""

PLACES_KEPT: Final = 1 / 8
"""Share of the places that a lane cannot lose to a better one."""

SHARED_MAX: Final = 64
"""Callers that share one hash; so callers are bounded as jobs are."""

RETURNS: Final = 2
"""How many callers are asked back for each hash that can be computed then. Not everybody comes back, and a refusal costs a
hundredth of a hash, while a thread without work costs all of one."""

RETRY_AFTER_S_MAX: Final = 30.0
"""Nobody keeps a form open for longer; a client that waited for nothing asks again."""

_LATEST_WEIGHT: Final = 1 / 16
"""Of the latest in a running mean: a change of load shows after some sixteen hashes."""


@dataclass(slots=True, eq=False, repr=False)
class Job:
    """A hash that somebody waits for. It has no repr, for it holds the password.

    Attributes:
        lane: Which queue it is in.
        work: What is to be computed; never looked at here.
        kind: Jobs of an equal kind can be computed in turn by one thread; None: only alone.
        key: Jobs of an equal key have an equal result; None: there is no other such job.
        callers: Who waits for it; of each only `done()` is asked, which says whether it has gone.
        since: Since when it has had its place in the queue, in seconds of the clock in use.
        deadline: When it is too late to start.
        is_waiting: It is in the queue.
    """

    lane: Lane
    work: Any
    kind: Hashable = None
    key: Hashable = None
    callers: list[Any] = field(default_factory=list)
    since: float = 0.0
    deadline: float = 0.0
    is_waiting: bool = False

    def is_wanted(self) -> bool:
        """Whether somebody still waits for it."""
        for caller in self.callers:  # noqa: SIM110 - any() costs three times as much, once for each hash
            if not caller.done():
                return True
        return False


@dataclass(slots=True, eq=False, repr=False)
class _Queue:
    """The jobs of one lane that wait.

    Attributes:
        rank: 0 for the best lane.
        jobs: In the order of since and of deadline: whoever is appended waits from now on.
        is_crowded: Somebody was refused since a thread was last without work.
        last_start: The number of its latest start.
        started_at: When that was, if it has not been empty since then.
        pace_s: The mean time between two starts in seconds, as far as it was seen since a thread was last without work.
        leavers: How many of the latest hung up before they were served, as a share.
    """

    rank: int
    jobs: OrderedDict[Job, None] = field(default_factory=OrderedDict)
    is_crowded: bool = False
    last_start: int = 0
    started_at: float | None = None
    pace_s: float | None = None
    leavers: float = 0.0

    def oldest(self) -> Job:
        """The job that has waited longest; there is one."""
        return next(iter(self.jobs))

    def newest(self) -> Job:
        """The job that came last; there is one."""
        return next(reversed(self.jobs))


class Scheduler:
    """The queues of one hash pool.

    A lane is served first come, first served, until its oldest job has waited for `STANDS_AT` of the longest wait or people
    hang up: then its queue stands, and goes newest first, for the newest client is the likeliest to stay. Better lanes go
    first, but every `TURN`-th start.

    A job may wait if, as far as is known, it will start in time. Once a lane had to refuse one it is crowded, and offers
    only `CROWDED_WAIT` of the longest wait until a thread has been without work.
    """

    def __init__(self, *, threads: int, queue_max: int, wait_s_max: float, in_turn_max: int, hash_s: float) -> None:
        """Begin empty.

        Args:
            threads: Who call `take`.
            queue_max: Jobs that may wait, besides those that a thread is free for.
            wait_s_max: How long a job may wait before it starts, in seconds.
            in_turn_max: How many jobs of one kind a thread takes at most: 1 or 2.
            hash_s: How long one hash takes a thread, in seconds, as far as is known before the first.
        """
        self.threads = threads
        self.hash_s = hash_s
        self.running = 0
        self.waiting = 0
        self._queue_max = queue_max
        self._wait_s_max = wait_s_max
        self._stands_s = STANDS_AT * wait_s_max
        self._in_turn_max = in_turn_max
        self._busy = 0  # threads; `running` counts jobs, of which one thread may have two
        self._queues = {lane: _Queue(rank) for rank, lane in enumerate(Lane)}
        self._newcomers = {lane: Job(lane, work=None) for lane in Lane}  # that only stand for one
        self._waiting: list[_Queue] = []  # the queues that are not empty, the best first
        self._shared: dict[Hashable, Job] = {}
        self._starts = 0
        self._in_a_row = 0  # starts of the best lane while others waited
        self._asked_back = 0.0
        self._asked_back_at = 0.0

    # Coming.

    def join(self, key: Hashable, caller: Any, lane: Lane, now: float) -> Job | None:  # noqa: ANN401 - see Job.callers
        """Let *caller* wait for a job of *key* that is there already, and return that job; None if there is none.

        A waiting job that is wanted again moves to the better lane, and becomes as new where its queue goes newest first.
        """
        job = self._shared.get(key)
        if job is None or len(job.callers) >= SHARED_MAX:
            return None
        job.callers.append(caller)
        if job.is_waiting:
            queue = self._queues[job.lane]
            is_better = self._queues[lane].rank < queue.rank
            if is_better or self._stands(queue, now):
                self._remove(job)
                job.lane = lane if is_better else job.lane
                self._append(job, now)
        return job

    def add(self, job: Job, now: float) -> Job | None:
        """Let *job* wait, and return who is refused for it: another one, or *job* itself; None if there is room."""
        refused = self._refused_for(job, now)
        if refused is job:
            self._count_refused(job.lane, 1, now)
            return job
        if refused is not None:
            self._remove(refused)
            self._forget(refused)
            self._count_refused(refused.lane, 1, now)
        self._append(job, now)
        return refused

    def turns_away(self, lane: Lane, now: float, *, besides: int = 0) -> bool:
        """Whether `add` would refuse a job of *lane* itself; then it counts as refused, and so do *besides* anyway."""
        is_refused = self.is_full(lane, now)
        if is_refused or besides:
            self._count_refused(lane, besides + is_refused, now)
        return is_refused

    def is_full(self, lane: Lane, now: float) -> bool:
        """Whether `add` would refuse a job of *lane* itself."""
        newcomer = self._newcomers[lane]
        return self._refused_for(newcomer, now) is newcomer

    def retry_after_s(self, lane: Lane, now: float) -> float:
        """When whoever of *lane* is refused now should come back, in seconds: one after the other, once there is room."""
        queue = self._queues[lane]
        until_room_s = max(0.0, self._expected_wait_s(queue) - self._patience_s(queue))
        in_line_s = self._asked_back_now(now) * self.hash_s / self.threads / RETURNS
        return min(RETRY_AFTER_S_MAX, max(self.hash_s, until_room_s + in_line_s))

    # Going.

    def take(self, now: float) -> list[Job]:
        """What a thread that is free is to compute now: nothing, one job, or two in turn. It calls `finish` afterwards."""
        first = self._next(now)
        if first is None:
            if not self._waiting:  # a thread without work: whatever crowd there was is over
                for queue in self._queues.values():
                    queue.is_crowded, queue.pace_s, queue.leavers = False, None, 0.0
            return []
        self._busy += 1
        self._start(first, now)
        # Two in turn take one thread 1.6 times as long as one: a gain only where no other thread is free for the second.
        if self._busy == self.threads and self._in_turn_max > 1 and first.kind is not None:
            second = self._next(now)
            if second is not None and second.kind == first.kind:
                self._start(second, now)
                return [first, second]
        return [first]

    def finish(self, jobs: list[Job], took_s: float | None) -> None:
        """Count a thread as free again, and its *jobs* as done.

        Args:
            jobs: As `take` gave them.
            took_s: How long the thread was at them, in seconds; None if they failed.
        """
        self._busy -= 1
        self.running -= len(jobs)
        for job in jobs:
            self._forget(job)
            if took_s is not None:
                self.hash_s += _LATEST_WEIGHT * (took_s / len(jobs) - self.hash_s)

    def leave(self, job: Job) -> None:
        """Learn that a caller of *job* has gone; if nobody is left who wants it, take it out of the queue."""
        if job.is_wanted():
            return
        queue = self._queues[job.lane]
        queue.leavers += _LATEST_WEIGHT * (1 - queue.leavers)
        if job.is_waiting:
            self._remove(job)
            self._forget(job)

    def expire(self, now: float) -> list[Job]:
        """Take out and return the jobs that have not started in time."""
        late = []
        for queue in self._queues.values():
            while queue.jobs and (job := queue.oldest()).deadline <= now:
                self._remove(job)
                self._forget(job)
                self._count_refused(job.lane, 1, now)
                late.append(job)
        return late

    def next_deadline(self) -> float | None:
        """When `expire` will have something to do, if nothing else happens; None if nobody waits."""
        return min((queue.oldest().deadline for queue in self._waiting), default=None)

    def clear(self) -> list[Job]:
        """Take out and return all that wait."""
        jobs = [job for queue in self._waiting for job in queue.jobs]
        for job in jobs:
            self._remove(job)
            self._forget(job)
        return jobs

    def has_free_thread(self) -> bool:
        """Whether a job that came now would start at once."""
        return self._busy + self.waiting < self.threads

    def waiting_in(self, lane: Lane) -> int:
        """Jobs of *lane* that wait."""
        return len(self._queues[lane].jobs)

    # Who goes first.

    def _next(self, now: float) -> Job | None:
        for queue in self._waiting if len(self._waiting) < 2 else self._in_order():
            for job in reversed(queue.jobs) if self._stands(queue, now) else queue.jobs:
                if job.deadline > now and job.is_wanted():
                    return job
        return None

    def _in_order(self) -> list[_Queue]:
        """The queues that are not empty: the best first, or in its turn the one that has been passed over longest."""
        if self._in_a_row < TURN - 1:
            return self._waiting
        passed_over = min(self._waiting[1:], key=lambda queue: queue.last_start)
        return [passed_over, *(queue for queue in self._waiting if queue is not passed_over)]

    def _start(self, job: Job, now: float) -> None:
        queue = self._queues[job.lane]
        self._in_a_row = self._in_a_row + 1 if queue is self._waiting[0] and len(self._waiting) > 1 else 0
        self._starts += 1
        queue.leavers -= _LATEST_WEIGHT * queue.leavers
        queue.last_start = self._starts
        if queue.started_at is not None:
            pace_s = self._pace_of(queue)
            queue.pace_s = pace_s + _LATEST_WEIGHT * (now - queue.started_at - pace_s)
        queue.started_at = now
        self._remove(job)
        self.running += 1

    def _stands(self, queue: _Queue, now: float) -> bool:
        """Whether its people have begun to give up, as far as is known: then it goes newest first."""
        if not queue.jobs:
            return False
        return queue.leavers >= LEAVERS or now - queue.oldest().since >= self._stands_s

    # Who may wait.

    def _refused_for(self, newcomer: Job, now: float) -> Job | None:
        """Who has to go so that *newcomer* may wait, were it *newcomer* itself; None if there is room."""
        if self.has_free_thread():
            return None
        if newcomer.lane is Lane.REHASH:
            return newcomer
        queue = self._queues[newcomer.lane]
        is_in_time = self._expected_wait_s(queue) <= self._patience_s(queue)
        # What a free thread is about to take needs no place.
        if is_in_time and self._busy + self.waiting < self.threads + self._queue_max:
            return None
        if not is_in_time:
            # Where people leave anyway, the oldest is the next to. Else whoever comes last hears it at once.
            return queue.oldest() if queue.jobs and queue.leavers >= LEAVERS else newcomer
        # Where the newest go first, it is the oldest who goes.
        gives_way = queue.oldest() if self._stands(queue, now) else newcomer
        # Every place is taken. The worst lane that has more than its share gives one up, were it the newcomer's own.
        share = int(self._queue_max * PLACES_KEPT)
        for other in reversed(self._queues.values()):
            if len(other.jobs) + (other is queue) > share:
                if other is queue:
                    return gives_way
                return other.oldest() if self._stands(other, now) else other.newest()
        return newcomer

    def _expected_wait_s(self, queue: _Queue) -> float:
        """How long a job would wait that came to *queue* now, in seconds."""
        free = self.threads - self._busy  # each of them takes one of those who wait
        if free > self.waiting:
            return 0.0
        better_s = 0.0
        if self._waiting and self._waiting[0].rank < queue.rank:
            better = sum(len(other.jobs) for other in self._waiting if other.rank < queue.rank)
            # They go first, or it is the lane's turn before that, which comes to each that is passed over.
            passed_over = len(self._waiting) - bool(queue.jobs)
            better_s = min(better, TURN * passed_over) * self.hash_s / self.threads
        return better_s + (max(0, len(queue.jobs) - free) + 1) * self._pace_of(queue)

    def _pace_of(self, queue: _Queue) -> float:
        """The time between two starts of *queue*, in seconds: that of all starts, unless it was seen to be another."""
        return self.hash_s / self.threads if queue.pace_s is None else queue.pace_s

    def _patience_s(self, queue: _Queue) -> float:
        """How long a wait *queue* offers now, in seconds; to the first of a lane always the longest, or it might starve."""
        return self._wait_s_max * CROWDED_WAIT if queue.is_crowded and queue.jobs else self._wait_s_max

    def _count_refused(self, lane: Lane, callers: int, now: float) -> None:
        self._queues[lane].is_crowded = True
        self._asked_back = self._asked_back_now(now) + callers
        self._asked_back_at = now

    def _asked_back_now(self, now: float) -> float:
        """Callers who were told when to come back, and whose time has not come yet."""
        came_back = (now - self._asked_back_at) * self.threads / self.hash_s * RETURNS
        return max(0.0, self._asked_back - came_back)

    # The queues.

    def _append(self, job: Job, now: float) -> None:
        queue = self._queues[job.lane]
        if not queue.jobs:
            self._waiting.append(queue)
            self._waiting.sort(key=lambda each: each.rank)
        queue.jobs[job] = None
        self.waiting += 1
        job.since = now
        job.deadline = now + self._wait_s_max
        job.is_waiting = True
        if job.key is not None:
            self._shared[job.key] = job

    def _remove(self, job: Job) -> None:
        queue = self._queues[job.lane]
        del queue.jobs[job]
        self.waiting -= 1
        job.is_waiting = False
        if not queue.jobs:
            self._waiting.remove(queue)
            queue.started_at = None

    def _forget(self, job: Job) -> None:
        if job.key is not None and self._shared.get(job.key) is job:
            del self._shared[job.key]
