"""Hashes passwords on a few threads, never on more at once than there are, and refuses what cannot start in time.

Argon2id is all that a login costs, so this is where a crowd is turned away: a queue that is bounded in length and in time
keeps those who are served fast, and those who are not hear it at once. `scheduler` decides who is who; here are the threads
and the clock. One thread a core; more only add memory and delay.
"""

import asyncio
import hashlib
import os
import secrets
import threading
from asyncio import sleep
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any, Final, NamedTuple
from uuid import UUID

from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane
from tidegate.passwords.engine import ENGINE
from tidegate.passwords.notations import parse
from tidegate.passwords.notations.argon2 import argon2id_length, argon2id_prefix, argon2id_work, hash_argon2id
from tidegate.passwords.profiles import HashProfile
from tidegate.passwords.scheduler import Job, Scheduler
from tidegate.passwords.work import Work, compute, kind_of, verifying
from tidegate.ports.passwords import Client

_TOGETHER_SHARE: Final = 1 / 4
"""In a crowd, where everybody waits, for what share of that wait those whose hash is done wait for each other.

A hash leaves nothing of the event loop in the caches of its core. So what follows the hashes of many at once costs half of
what it costs one by one, and their sessions share a commit (ADR 0013)."""

_TOGETHER_S_MAX: Final = 0.25
"""Beyond that the rest would have to be served in a rush."""

_CROWD_S: Final = 0.1
"""A crowd is when the threads have that much before them: then the tenth of a second is not what anybody notices."""

_SAMPLES: Final = 256
"""Matches of a lane that `imitate` draws from: some seconds of a busy node, to follow the load and not a single outlier."""

_KEEP_MEMORY_S: Final = 10.0
"""How long a thread without work keeps its memory: from one login of a calm hour to the next, not all night (ADR 0012)."""

_KEY_BYTES: Final = 32

# Why a caller gets no hash, as metrics have it.
_FULL: Final = "full"
_DISPLACED: Final = "displaced"
_LATE: Final = "late"
_GONE: Final = "gone"
"""Its client has hung up, or its request was over its deadline."""
_NO_MEMORY: Final = "memory"
_CLOSING: Final = "closing"

OnHashed = Callable[[float], None]
OnRefused = Callable[[Lane, str], None]
OnShared = Callable[[Lane], None]


class _Done(NamedTuple):
    """What became of the jobs that a thread had. It must not be printed: it holds the passwords.

    Attributes:
        jobs: One, or two that were computed in turn.
        results: A bool or a PHC string for each; empty if there is an error.
        error: For the callers; None if there are results.
        took_s: How long the thread computed, in seconds; None if it failed.
    """

    jobs: list[Job]
    results: list[Any]
    error: Exception | None
    took_s: float | None


def _observe_nothing(*_seen: object) -> None:
    pass


def _nobody() -> Client | None:
    return None


class HashPool:
    """Implements `ports.passwords.Passwords`. It belongs to one event loop; its threads hash once before it is ready.

    A place in it belongs to the job and not to its caller: a caller who has gone frees nothing while a thread is still at
    the hash. A job whose callers have all gone before it started gives its place up, unhashed. Callers who want the same
    password compared with the same hash share one job.
    """

    def __init__(
        self,
        *,
        profile: HashProfile,
        threads: int,
        queue_max: int,
        wait_s_max: float,
        niceness: int,
        on_hashed: OnHashed = _observe_nothing,
        on_refused: OnRefused = _observe_nothing,
        on_shared: OnShared = _observe_nothing,
        client: Callable[[], Client | None] = _nobody,
    ) -> None:
        """Start the threads and let each hash once, so that its memory is there and the price of a hash is known.

        Blocks for as long as that takes: some 10 to 100 ms, once a process.

        Args:
            profile: Of new hashes.
            threads: The cores of the node, shared out over its processes.
            queue_max: Jobs that may wait besides.
            wait_s_max: How long a job may wait before it starts, in seconds.
            niceness: Of the hash threads, 0 to 19: the event loop goes first.
            on_hashed: Told the seconds of a thread that each finished hash took, on the event loop.
            on_refused: Told the lane of each caller who gets no hash and why, in one word, on the event loop.
            on_shared: Told the lane of each caller who waits for the hash of another, on the event loop.
            client: For whom the calling task works; None: for nobody who could leave.

        Raises:
            ValueError: *profile* makes hashes that we would not verify.
            MemoryError: There is not enough for the threads.
        """
        self._profile = profile
        self._wait_s_max = wait_s_max
        self._niceness = niceness
        self._on_hashed = on_hashed
        self._on_refused = on_refused
        self._on_shared = on_shared
        self._client = client
        self._current_prefix = argon2id_prefix(profile)
        self._current_length = argon2id_length(profile)
        self._digest_key = secrets.token_bytes(_KEY_BYTES)
        self._samples: dict[Lane, deque[float]] = {lane: deque(maxlen=_SAMPLES) for lane in Lane}

        # Whoever holds the lock may use the scheduler, the bells and `_is_closed`.
        self._lock = threading.Lock()
        self._is_closed = False
        self._bells: list[threading.Lock] = []  # of the threads that sleep; released to wake one
        # The threads put what they have done here, and wake the event loop once for all that is there.
        self._done: deque[_Done] = deque()
        self._is_ringing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: asyncio.TimerHandle | None = None

        self._scheduler = self._scheduler_of(threads, queue_max, hash_s=0)
        self._threads: list[threading.Thread] = []
        self._first_hash_s = self._start(threads)
        self._scheduler.hash_s = self._first_hash_s

    def _start(self, threads: int) -> float:
        """Start the threads; return the seconds that a hash took on them."""
        warm_ups: SimpleQueue[float | Exception] = SimpleQueue()
        self._threads += [
            threading.Thread(target=self._serve, args=(warm_ups,), name=f"hash-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        return self._measured([warm_ups.get() for _ in self._threads])

    async def matches(self, password: str, password_hash: str, *, user_id: UUID, lane: Lane) -> bool:
        """See `ports.passwords.Passwords`."""
        stored = parse(password_hash)
        if stored is None:
            return False
        octets = password.encode()
        # A key of one process, so that the digest tells nobody anything; 1 us, for a hash of 7,000.
        key = (user_id, password_hash, hashlib.blake2b(octets, key=self._digest_key, digest_size=_KEY_BYTES).digest())
        began_at = monotonic()
        matched: bool = await self._result_of(verifying(stored, octets), lane, key)
        self._samples[lane].append(monotonic() - began_at)
        return matched

    async def hash(self, password: str, *, lane: Lane) -> str:
        """See `ports.passwords.Passwords`."""
        made: str = await self._result_of(argon2id_work(password.encode(), self._profile), lane, None)
        return made

    def is_outdated(self, password_hash: str) -> bool:
        """See `ports.passwords.Passwords`."""
        return not (password_hash.startswith(self._current_prefix) and len(password_hash) == self._current_length)

    def is_idle(self) -> bool:
        """See `ports.passwords.Passwords`."""
        with self._lock:
            return not self._is_closed and self._scheduler.has_free_thread()

    async def imitate(self, *, lane: Lane) -> None:
        """See `ports.passwords.Passwords`: as long as one of the latest matches of *lane* took from call to end."""
        self.refuse_if_full(lane)
        await sleep(secrets.choice(self._samples[lane]) if self._samples[lane] else self._first_hash_s)

    def refuse_if_full(self, lane: Lane, *, besides: int = 0) -> None:
        """See `ports.passwords.Passwords`."""
        now = monotonic()
        with self._lock:
            is_refused = self._is_closed or self._scheduler.turns_away(lane, now, besides=besides)
            retry_after_s = self._scheduler.retry_after_s(lane, now) if is_refused else 0.0
        for _ in range(besides):
            self._on_refused(lane, _FULL)
        if is_refused:
            self._on_refused(lane, _CLOSING if self._is_closed else _FULL)
            raise HashPoolSaturated(retry_after_s=retry_after_s)

    @property
    def threads(self) -> int:
        """Threads that hash."""
        return len(self._threads)

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        return self._scheduler.waiting

    def waiting_in(self, lane: Lane) -> int:
        """Those of *lane*."""
        return self._scheduler.waiting_in(lane)

    def full_lanes(self) -> list[Lane]:
        """The lanes in which a newcomer would be refused now; without that of rehashes, which never wait."""
        now = monotonic()
        with self._lock:
            return [lane for lane in Lane if lane is not Lane.REHASH and self._scheduler.is_full(lane, now)]

    @property
    def running(self) -> int:
        """Jobs that a thread is at."""
        return self._scheduler.running

    def is_alive(self) -> bool:
        """Whether every thread lives and jobs are taken; it may be saturated all the same."""
        return not self._is_closed and all(thread.is_alive() for thread in self._threads)

    async def aclose(self) -> None:
        """Take no more, refuse what waits, and return when the hashes under way are done."""
        with self._lock:
            refused = self._close()
        for job in refused:
            self._refuse(job, _CLOSING)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._settle()  # what the event loop had not come to
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # On the event loop.

    def _scheduler_of(self, threads: int, queue_max: int, hash_s: float) -> Scheduler:
        return Scheduler(
            threads=threads,
            queue_max=queue_max,
            wait_s_max=self._wait_s_max,
            in_turn_max=ENGINE.in_turn_max,
            hash_s=hash_s,
        )

    def _measured(self, warm_ups: list[float | Exception]) -> float:
        """The mean of *warm_ups* in seconds; where one failed the pool cannot work and is given up."""
        failures = [warm_up for warm_up in warm_ups if isinstance(warm_up, Exception)]
        if failures:
            with self._lock:
                self._close()
            raise failures[0]
        return sum(warm_up for warm_up in warm_ups if isinstance(warm_up, float)) / len(warm_ups)

    def _close(self) -> list[Job]:
        self._is_closed = True
        while self._bells:
            self._bells.pop().release()
        return self._scheduler.clear()

    async def _result_of(self, work: Work, lane: Lane, key: Hashable) -> Any:  # noqa: ANN401 - whatever the work results in
        """Return what *work* results in, on a hash thread or with somebody else's job of the same *key*.

        Raises:
            HashPoolSaturated: At once, as soon as it could not start in time, or when the client has gone.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the first time, or the loop before has ended
            self._loop, self._is_ringing, self._alarm = loop, False, None
        caller: asyncio.Future[Any] = loop.create_future()
        client = self._client()
        job = self._let_in(work, lane, key, caller, client)
        if self._alarm is None and self._scheduler.waiting:
            self._alarm = loop.call_later(self._wait_s_max, self._refuse_late)
        if client is not None:
            client.on_leaving = partial(self._let_go, job, caller, client)
        try:
            return await caller
        except asyncio.CancelledError:
            with self._lock:
                self._scheduler.leave(job)
            self._on_refused(lane, _GONE)
            raise
        finally:
            if client is not None:
                client.on_leaving = None

    def _let_in(self, work: Work, lane: Lane, key: Hashable, caller: "asyncio.Future[Any]", client: Client | None) -> Job:
        """Find or make the job that *caller* is to wait for.

        Raises:
            HashPoolSaturated: There is no place for it.
        """
        now = monotonic()
        shared = displaced = None
        with self._lock:
            why_not = self._why_not(client)
            if why_not is None and key is not None:
                shared = self._scheduler.join(key, caller, lane, now)
            job = shared or Job(lane, work, kind=kind_of(work), key=key, callers=[caller])
            if why_not is None and shared is None:
                displaced = self._scheduler.add(job, now)
                if displaced is job:
                    why_not = _FULL
                elif self._bells:
                    self._bells.pop().release()
        if why_not is not None:
            self._on_refused(lane, why_not)
            raise self._saturated(lane)
        if shared is not None:
            self._on_shared(lane)
        if displaced is not None:
            self._refuse(displaced, _DISPLACED)
        return job

    def _why_not(self, client: Client | None) -> str | None:
        """Why nothing is begun for *client*, whatever the queues are like; None if it is."""
        if self._is_closed:
            return _CLOSING
        # Who has perhaps gone is served where it costs nobody a place.
        if client is not None and (client.has_gone or (client.may_have_gone and not self._scheduler.has_free_thread())):
            return _GONE
        return None

    def _let_go(self, job: Job, caller: "asyncio.Future[Any]", client: Client) -> None:
        """End the wait of *caller*, whose *client* has gone; the hash, if it is under way, goes on."""
        with self._lock:
            is_over = caller.done() or not (job.is_waiting or client.has_gone)
        if not is_over:
            self._on_refused(job.lane, _GONE)
            caller.set_exception(self._saturated(job.lane))
            with self._lock:
                self._scheduler.leave(job)

    def _refuse_late(self) -> None:
        """Tell those who have not started in time, at once, and come back when the next one would be late."""
        now = monotonic()
        with self._lock:
            late = self._scheduler.expire(now)
            deadline = self._scheduler.next_deadline()
        for job in late:
            self._refuse(job, _LATE)
        self._alarm = None
        if deadline is not None and self._loop is not None:
            self._alarm = self._loop.call_later(deadline - now, self._refuse_late)

    def _refuse(self, job: Job, reason: str) -> None:
        for caller in job.callers:
            if not caller.done():
                self._on_refused(job.lane, reason)
                caller.set_exception(self._saturated(job.lane))

    def _saturated(self, lane: Lane) -> HashPoolSaturated:
        with self._lock:
            return HashPoolSaturated(retry_after_s=self._scheduler.retry_after_s(lane, monotonic()))

    def _settle(self) -> None:
        """Tell the callers of all that is done, if there are still any."""
        pause_s = self._pause_s()
        if self._loop is not None and pause_s > 0:
            self._loop.call_later(pause_s, self._settle)  # until then no thread rings
        else:
            self._is_ringing = False  # before looking: what is put there from now on rings again
        while self._done:
            done = self._done.popleft()
            for number, job in enumerate(done.jobs):
                if done.took_s is not None:
                    self._on_hashed(done.took_s / len(done.jobs))
                if isinstance(done.error, MemoryError):
                    self._refuse(job, _NO_MEMORY)
                    continue
                for caller in job.callers:
                    if caller.done():
                        continue
                    if done.error is not None:
                        caller.set_exception(done.error)
                    else:
                        caller.set_result(done.results[number])

    def _pause_s(self) -> float:
        """How long what is done waits for more of it: never so long that the threads run out of work; 0 without a crowd."""
        ahead_s = self._scheduler.waiting * self._scheduler.hash_s / len(self._threads)
        return min(_TOGETHER_S_MAX, ahead_s * _TOGETHER_SHARE) if ahead_s >= _CROWD_S else 0.0

    # On a hash thread.

    def _serve(self, warm_ups: SimpleQueue[float | Exception]) -> None:
        """Work off jobs until told to stop."""
        warm_ups.put(self._warm_up())
        bell = threading.Lock()
        bell.acquire()
        done: _Done | None = None
        while True:
            with self._lock:
                if done is not None:
                    self._scheduler.finish(done.jobs, done.took_s)
                jobs = self._scheduler.take(monotonic())
                is_closed = self._is_closed
                if not jobs:
                    self._bells.append(bell)
            if done is not None:
                self._done.append(done)
                done = None  # it holds the password, and this frame lives on while it waits for the next
                if not self._is_ringing:
                    self._ring()
            if jobs:
                done = self._work_off(jobs)
                del jobs
            elif is_closed:
                ENGINE.release()
                return
            elif not bell.acquire(timeout=_KEEP_MEMORY_S):
                ENGINE.release()
                bell.acquire()

    def _warm_up(self) -> float | Exception:
        """Step behind the event loop and hash once; how long that took, in seconds, or why it cannot be."""
        try:
            with suppress(OSError):  # a wish: where the system does not grant it, hashes merely compete with the event loop
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
            ENGINE.keep(self._profile.memory_cost_kib)
            hash_argon2id(b"", self._profile)  # the memory comes with it
            began_at = monotonic()
            if parse(hash_argon2id(b"", self._profile)) is None:
                raise ValueError(f"hash profile {self._profile.name} is beyond what is verified")
        except Exception as error:
            return error
        return monotonic() - began_at

    def _work_off(self, jobs: list[Job]) -> _Done:
        """Compute what *jobs* ask for; never raises."""
        began_at = monotonic()
        try:
            results = compute([job.work for job in jobs])
        except BaseException as error:  # a panic in bcrypt's Rust is no Exception; a dead thread would be a core lost
            return _Done(jobs, [], error if isinstance(error, Exception) else RuntimeError(type(error).__name__), None)
        return _Done(jobs, results, None, monotonic() - began_at)

    def _ring(self) -> None:
        """See to it that the event loop looks at what is done."""
        self._is_ringing = True
        loop = self._loop
        assert loop is not None  # else there would have been nothing to do
        try:
            loop.call_soon_threadsafe(self._settle)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._is_ringing = False
