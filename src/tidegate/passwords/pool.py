"""Hashes passwords on a few threads, never more at once than there are threads, and refuses what cannot start in time.

Argon2id is all that a login costs, so this is where a crowd is turned away: a queue that is bounded in length and in time
keeps those who are served fast, and those who are not hear it at once. One thread a core; more only add memory and delay.
"""

import asyncio
import os
import secrets
import threading
from asyncio import sleep
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any, Final, TypeVar

from tidegate.domain.errors import HashPoolSaturated
from tidegate.passwords.notations import parse
from tidegate.passwords.notations.argon2 import argon2id_length, argon2id_prefix, hash_argon2id
from tidegate.passwords.profiles import HashProfile

_Result = TypeVar("_Result")

_SAMPLES: Final = 256
"""Matches that `imitate` draws from: some seconds of a busy node, so that it follows the load but not a single outlier."""

_LATEST_WEIGHT: Final = 1 / 16
"""Of the latest job in the running mean of their durations: a change of load shows after some sixteen jobs."""


@dataclass(slots=True, eq=False, repr=False)
class _Job:
    """A hash to be made.

    Attributes:
        compute: Holds the password.
        future: Where the caller waits; cancelled when the caller is gone.
        submitted_at: By `monotonic`.
    """

    compute: Callable[[], Any]
    future: asyncio.Future[Any]
    submitted_at: float


@dataclass(slots=True, eq=False, repr=False)
class _Outcome:
    """What became of a job.

    Attributes:
        result: A bool or a PHC string; None if there is an error.
        error: For the caller; None if there is a result.
        hash_s: How long the thread computed, in seconds; None if it did not.
    """

    result: Any = None
    error: Exception | None = None
    hash_s: float | None = None


def _observe_nothing(_hash_s: float) -> None:
    pass


class HashPool:
    """Implements `ports.Passwords`. It belongs to one event loop; the threads start and hash once before it is ready.

    A place in it belongs to the job and not to its caller: a caller who has gone frees nothing while a thread is still at
    the hash. A job whose caller has gone before it started is dropped unhashed when its turn comes.
    """

    def __init__(
        self,
        *,
        profile: HashProfile,
        threads: int,
        queue_max: int,
        wait_s_max: float,
        niceness: int,
        on_hashed: Callable[[float], None] = _observe_nothing,
    ) -> None:
        """Start the threads and let each hash once, so that its memory is there and the price of a hash is known.

        Blocks for as long as that takes: some 10 to 100 ms, once a process.

        Args:
            profile: Of new hashes.
            threads: Hashes at once; the cores of the node, shared out over its processes.
            queue_max: Jobs that may wait besides.
            wait_s_max: How long a job may wait before it starts, in seconds.
            niceness: Of the hash threads, 0 to 19: the event loop goes first.
            on_hashed: Told the seconds of each finished hash, on the event loop.

        Raises:
            ValueError: *profile* makes hashes that we would not verify.
            MemoryError: There is not enough for the threads.
        """
        self._profile = profile
        self._places = threads + queue_max
        self._wait_s_max = wait_s_max
        self._niceness = niceness
        self._on_hashed = on_hashed
        self._current_prefix = argon2id_prefix(profile)
        self._current_length = argon2id_length(profile)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._is_closed = False
        # Counted without a lock: the event loop alone writes `_submitted`, and one thread each entry of `_finished`.
        self._submitted = 0
        self._finished = [0] * threads
        self._samples: deque[float] = deque(maxlen=_SAMPLES)

        warm_ups: SimpleQueue[float | Exception] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, args=(number, warm_ups), name=f"hash-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        self._first_hash_s = self._mean_hash_s = self._measured([warm_ups.get() for _ in self._threads])

    async def matches(self, password: str, password_hash: str) -> bool:
        """See `ports.Passwords`."""
        stored = parse(password_hash)
        if stored is None:
            return False
        submitted_at = monotonic()
        matched = await self._run(partial(stored.verify, password.encode()))
        self._samples.append(monotonic() - submitted_at)
        return matched

    async def hash(self, password: str) -> str:
        """See `ports.Passwords`."""
        return await self._run(partial(hash_argon2id, password.encode(), self._profile))

    def is_outdated(self, password_hash: str) -> bool:
        """See `ports.Passwords`."""
        return not (password_hash.startswith(self._current_prefix) and len(password_hash) == self._current_length)

    def is_idle(self) -> bool:
        """See `ports.Passwords`."""
        return self._taken < len(self._threads)

    async def imitate(self) -> None:
        """See `ports.Passwords`: as long as one of the latest matches took, from submission to end, drawn at random."""
        self._refuse_if_saturated()
        await sleep(secrets.choice(self._samples) if self._samples else self._first_hash_s)

    @property
    def threads(self) -> int:
        """Hashes that can be made at once."""
        return len(self._threads)

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        return self._queue.qsize()

    @property
    def running(self) -> int:
        """Jobs that a thread is at."""
        return max(0, min(self._taken - self.waiting, self.threads))

    def is_alive(self) -> bool:
        """Whether every thread lives and jobs are taken; it may be saturated all the same."""
        return not self._is_closed and all(thread.is_alive() for thread in self._threads)

    async def aclose(self) -> None:
        """Take no more, refuse what waits, and return when the hashes under way are done."""
        self._is_closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    # On the event loop.

    def _measured(self, warm_ups: list[float | Exception]) -> float:
        """The mean of *warm_ups* in seconds; where one failed the pool cannot work and is given up."""
        failures = [warm_up for warm_up in warm_ups if isinstance(warm_up, Exception)]
        if failures:
            for _ in self._threads:
                self._queue.put(None)
            raise failures[0]
        return sum(warm_up for warm_up in warm_ups if isinstance(warm_up, float)) / len(warm_ups)

    async def _run(self, compute: Callable[[], _Result]) -> _Result:
        """Return what *compute* returns on a hash thread.

        Raises:
            HashPoolSaturated: At once, or when its turn came too late.
        """
        self._refuse_if_saturated()
        job = _Job(compute, asyncio.get_running_loop().create_future(), monotonic())
        self._submitted += 1
        self._queue.put(job)
        result: _Result = await job.future
        return result

    def _refuse_if_saturated(self) -> None:
        if not self._is_admitting():
            raise self._saturated()

    def _is_admitting(self) -> bool:
        return not self._is_closed and self._taken < self._places and self._wait_s <= self._wait_s_max

    def _settle(self, job: _Job, outcome: _Outcome) -> None:
        """Tell the caller of *job*, if there is still one."""
        if not job.future.done():
            if outcome.error is None:
                job.future.set_result(outcome.result)
            else:
                job.future.set_exception(outcome.error)
        if outcome.hash_s is not None:
            self._mean_hash_s += _LATEST_WEIGHT * (outcome.hash_s - self._mean_hash_s)
            self._on_hashed(outcome.hash_s)

    # On either side.

    @property
    def _taken(self) -> int:
        """Places that are taken, by jobs waiting or running."""
        return self._submitted - sum(self._finished)

    @property
    def _wait_s(self) -> float:
        """How long a job would wait that came now, in seconds, by the running mean; 0 while a thread is free."""
        return max(0, self._taken - self.threads + 1) * self._mean_hash_s / self.threads

    def _saturated(self) -> HashPoolSaturated:
        return HashPoolSaturated(retry_after_s=max(self._wait_s, self._mean_hash_s))

    # On a hash thread.

    def _serve(self, number: int, warm_ups: SimpleQueue[float | Exception]) -> None:
        """Work off jobs until told to stop."""
        warm_ups.put(self._warm_up())
        while True:
            job = self._queue.get()
            if job is None:
                return
            outcome = self._work_off(job)
            self._finished[number] += 1  # before its caller hears of it, who may ask `is_idle` next
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                job.future.get_loop().call_soon_threadsafe(self._settle, job, outcome)
            del job, outcome  # they hold the password, and this frame lives on while it waits for the next

    def _warm_up(self) -> float | Exception:
        """Step behind the event loop and hash once; how long that took, in seconds, or why it cannot be."""
        started_at = monotonic()
        try:
            with suppress(OSError):  # a wish: where the system does not grant it, hashes merely compete with the event loop
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
            if parse(hash_argon2id(b"", self._profile)) is None:
                raise ValueError(f"hash profile {self._profile.name} is beyond what is verified")
        except Exception as error:
            return error
        return monotonic() - started_at

    def _work_off(self, job: _Job) -> _Outcome:
        """Compute what *job* asks for, unless it is too late; never raises."""
        if job.future.cancelled():
            return _Outcome()
        started_at = monotonic()
        if self._is_closed or started_at - job.submitted_at > self._wait_s_max:
            return _Outcome(error=self._saturated())
        try:
            result = job.compute()
        except MemoryError:
            return _Outcome(error=self._saturated())
        except BaseException as error:  # a panic in bcrypt's Rust is no Exception; a dead thread would be a core lost
            return _Outcome(error=error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
        return _Outcome(result, hash_s=monotonic() - started_at)
