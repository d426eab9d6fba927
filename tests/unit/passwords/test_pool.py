"""The hash pool is bounded in hashes, in places and in time, and none of it depends on callers who stay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from tests.contract.passwords import PasswordsContract
from tests.unit.passwords.gates import Gate, a_pool, all_submitted, closing, told, until
from tidegate.domain.errors import HashPoolSaturated
from tidegate.ports import Passwords


class TestHashPool(PasswordsContract):
    def opened(self) -> AbstractAsyncContextManager[Passwords]:
        return closing(a_pool())

    @asynccontextmanager
    async def saturated(self) -> AsyncIterator[Passwords]:
        async with closing(a_pool(threads=1, queue_max=0)) as pool:
            gate = Gate()
            blocker = asyncio.create_task(pool._run(lambda: gate.verify(b"")))
            await gate.entered(1)
            try:
                yield pool
            finally:
                gate.open()
                await blocker


def test_there_are_never_more_hashes_at_once_than_threads(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=2, queue_max=8)) as pool:
            callers = [asyncio.create_task(pool.matches(str(number), "any")) for number in range(10)]
            await gate.entered(2)
            assert (pool.threads, pool.running, pool.waiting) == (2, 2, 8)
            assert not pool.is_idle()
            gate.open()
            assert await asyncio.gather(*callers) == [True] * 10
            assert gate.inside_max == 2
            assert (pool.running, pool.waiting) == (0, 0)
            assert pool.is_idle()

    told(story())


def test_waiting_jobs_are_taken_in_the_order_they_came(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1)) as pool:
            gate.open()
            await asyncio.gather(*(pool.matches(str(number), "any") for number in range(8)))
            assert gate.passwords == [str(number).encode() for number in range(8)]

    told(story())


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=2, queue_max=3)) as pool:
            pool._mean_hash_s = 2.0
            callers = [asyncio.create_task(pool.matches("x", "any")) for _ in range(5)]
            await all_submitted(pool, 5)
            assert pool.is_alive()
            assert not pool._is_admitting()
            with pytest.raises(HashPoolSaturated) as caught:
                await pool.matches("x", "any")
            # Three wait and one place must come free: four hashes of two seconds on two threads.
            assert caught.value.retry_after_s == pytest.approx(4.0)
            gate.open()
            await asyncio.gather(*callers)
            assert pool._is_admitting()
            assert await pool.matches("x", "any")

    told(story())


def test_a_job_that_could_not_start_in_time_is_refused_though_there_are_places(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=100, wait_s_max=5)) as pool:
            pool._mean_hash_s = 2.0
            callers = [asyncio.create_task(pool.matches("x", "any")) for _ in range(2)]
            await all_submitted(pool, 2)
            callers.append(asyncio.create_task(pool.matches("x", "any")))  # would wait two hashes: 4 s
            await all_submitted(pool, 3)
            for refused in (pool.matches("x", "any"), pool.hash("x"), pool.imitate()):
                with pytest.raises(HashPoolSaturated) as caught:
                    await refused
                assert caught.value.retry_after_s == pytest.approx(6.0)
            gate.open()
            await asyncio.gather(*callers)

    told(story())


def test_dear_hashes_do_not_close_an_idle_pool(gate: Gate) -> None:
    """The mean may exceed the longest wait; a job that need not wait is admitted all the same, or it would never sink."""

    async def story() -> None:
        async with closing(a_pool(threads=1, wait_s_max=1)) as pool:
            pool._mean_hash_s = 1000.0
            gate.open()
            assert await pool.matches("x", "any")

    told(story())


def test_a_job_whose_deadline_has_passed_when_its_turn_comes_is_not_hashed(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        now = 1000.0
        monkeypatch.setattr("tidegate.passwords.pool.monotonic", lambda: now)
        async with closing(a_pool(threads=1, wait_s_max=5)) as pool:
            pool._mean_hash_s = 0.5
            running = asyncio.create_task(pool.matches("running", "any"))
            await gate.entered(1)
            early = asyncio.create_task(pool.matches("early", "any"))
            await all_submitted(pool, 2)
            now += 2
            late = asyncio.create_task(pool.matches("late", "any"))
            await all_submitted(pool, 3)
            now += 4  # 6 s after `early`, 4 s after `late`
            gate.open()
            assert await running
            with pytest.raises(HashPoolSaturated) as caught:
                await early
            assert caught.value.retry_after_s > 0
            assert await late
            assert gate.passwords == [b"running", b"late"]

    told(story())


def test_a_caller_who_has_gone_frees_no_place_before_the_hash_is_done(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=0)) as pool:
            caller = asyncio.create_task(pool.matches("x", "any"))
            await gate.entered(1)
            caller.cancel()
            with suppress(asyncio.CancelledError):
                await caller
            assert pool.running == 1
            with pytest.raises(HashPoolSaturated):
                await pool.matches("x", "any")
            gate.open()
            await until(pool.is_idle)
            assert await pool.matches("x", "any")

    told(story())


def test_a_caller_who_has_gone_before_the_start_costs_no_hash(gate: Gate) -> None:
    """A storm of clients who hang up must not keep the cores busy for nobody (STACK.md, trap 6)."""

    async def story() -> None:
        async with closing(a_pool(threads=1)) as pool:
            running = asyncio.create_task(pool.matches("running", "any"))
            await gate.entered(1)
            gone = asyncio.create_task(pool.matches("gone", "any"))
            stays = asyncio.create_task(pool.matches("stays", "any"))
            await all_submitted(pool, 3)
            gone.cancel()
            gate.open()
            assert await running
            assert await stays
            assert gone.cancelled()
            assert gate.passwords == [b"running", b"stays"]
            assert (pool.running, pool.waiting) == (0, 0)

    told(story())


def test_an_unreadable_hash_needs_no_thread() -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=0)) as pool:
            before = pool._submitted
            assert await pool.matches("x", "$1$not$ours") is False
            assert pool._submitted == before

    told(story())
