"""The hash pool starts whole or not at all, keeps nothing of a job, outlives every failure and ends in order."""

import asyncio
import gc
import os
import threading
import weakref
from contextlib import suppress

import pytest

from tests.fakes.passwords import SOMEBODY
from tests.unit.passwords.gates import PATIENCE_S, TINY, Gate, a_pool, all_submitted, asks, closing, told, until
from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane
from tidegate.passwords.pool import HashPool
from tidegate.passwords.profiles import HashProfile


@pytest.mark.parametrize("ends", ["done", "failed", "cancelled"])
def test_nothing_of_a_job_is_kept_once_it_is_done(monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    """The stored hash stands for the password here: both are held by the same call, and only it can be watched."""

    async def story() -> None:
        async with closing(a_pool(threads=1)) as pool:
            gate = Gate()
            watched = weakref.ref(gate)
            monkeypatch.setattr("tidegate.passwords.pool.parse", lambda _stored, given=[gate]: given.pop())
            if ends == "failed":
                gate.answer = lambda: 1 / 0
            caller = asyncio.create_task(pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN))
            await gate.entered(1)
            if ends == "cancelled":
                caller.cancel()
            gate.open()
            del gate
            with suppress(ZeroDivisionError, asyncio.CancelledError):
                await caller
            del caller
            await until(lambda: gc.collect() >= 0 and watched() is None)

    told(story())


def test_a_failure_reaches_its_caller_and_no_thread_dies_of_it(gate: Gate) -> None:
    class Panic(BaseException):
        """As Rust's panics come out of bcrypt."""

    def panicking() -> bool:
        raise Panic

    async def story() -> None:
        async with closing(a_pool(threads=1)) as pool:
            gate.open()
            gate.answer = lambda: 1 / 0
            with pytest.raises(ZeroDivisionError):
                await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            gate.answer = panicking
            with pytest.raises(RuntimeError, match="Panic"):
                await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            gate.answer = lambda: True
            assert await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            assert pool.is_alive()

    told(story())


def test_want_of_memory_is_a_lack_of_ours_and_no_wrong_password(gate: Gate) -> None:
    def in_want() -> bool:
        raise MemoryError

    async def story() -> None:
        async with closing(a_pool()) as pool:
            gate.open()
            gate.answer = in_want
            with pytest.raises(HashPoolSaturated) as caught:
                await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            assert caught.value.retry_after_s > 0

    told(story())


def test_the_threads_give_way_to_the_event_loop() -> None:
    async def story() -> None:
        here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        pool = HashPool(profile=TINY, threads=2, queue_max=1, wait_s_max=1, niceness=19)
        async with closing(pool):
            assert [os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) for thread in pool._threads] == [19, 19]
            assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == here

    told(story())


def test_a_system_that_grants_no_priorities_gets_its_hashes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: int) -> None:
        raise PermissionError

    async def story() -> None:
        monkeypatch.setattr("os.setpriority", refused)
        async with closing(a_pool()) as pool:
            assert await pool.matches("x", await pool.hash("x", lane=Lane.LOGIN), user_id=SOMEBODY, lane=Lane.LOGIN)

    told(story())


def test_closing_ends_what_runs_and_refuses_what_waits_and_comes(gate: Gate) -> None:
    async def story() -> None:
        pool = a_pool(threads=1)
        running = asyncio.create_task(pool.matches("running", "any", user_id=SOMEBODY, lane=Lane.LOGIN))
        await gate.entered(1)
        waiting = [asks(pool, f"waiting {number}") for number in range(3)]
        await all_submitted(pool, 4)
        closed = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        assert not closed.done()
        assert not pool.is_alive()
        for refused in (
            pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN),
            pool.hash("x", lane=Lane.LOGIN),
            pool.imitate(lane=Lane.LOGIN),
        ):
            with pytest.raises(HashPoolSaturated):
                await refused
        gate.open()
        assert await running
        for caller in waiting:
            with pytest.raises(HashPoolSaturated):
                await caller
        await closed
        assert gate.passwords == [b"running"]
        assert not any(thread.is_alive() for thread in pool._threads)
        await pool.aclose()  # once more changes nothing

    told(story())


def test_a_dead_thread_shows() -> None:
    async def story() -> None:
        async with closing(a_pool(threads=2)) as pool:
            assert pool.is_alive()
            with pool._lock:
                pool._is_closed = True
                pool._bells.pop().release()
            await until(lambda: not all(thread.is_alive() for thread in pool._threads))
            pool._is_closed = False
            assert not pool.is_alive()

    told(story())


def test_a_loop_that_ended_takes_no_place_with_it(gate: Gate) -> None:
    """A test, or a server that restarts its loop, may end while a thread is at a hash."""
    pool = a_pool(threads=1, queue_max=0)

    async def leaves() -> None:
        caller = asks(pool, "x")
        await gate.entered(1)
        caller.cancel()

    async def comes() -> None:
        gate.open()
        await until(pool.is_idle)
        assert await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
        await pool.aclose()

    told(leaves())
    told(comes())


def test_a_profile_that_we_would_not_verify_is_refused_at_the_start() -> None:
    """Else whoever registered under it could never log in."""
    before = threading.active_count()
    with pytest.raises(ValueError, match="hash profile short is beyond"):
        a_pool(profile=HashProfile("short", 8, 1, hash_len=8))
    await_threads(before)


def test_want_of_memory_shows_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_want(*_args: object) -> str:
        raise MemoryError

    before = threading.active_count()
    monkeypatch.setattr("tidegate.passwords.pool.hash_argon2id", in_want)
    with pytest.raises(MemoryError):
        a_pool()
    await_threads(before)


def await_threads(count: int) -> None:
    """Wait until no more threads than *count* are left."""
    for thread in threading.enumerate():
        if thread.name.startswith("hash-"):
            thread.join(PATIENCE_S)
    assert threading.active_count() <= count
