"""The hash pool is bounded in threads, in places and in time, and none of it depends on callers who stay."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import pytest

from tests.contract.passwords import PasswordsContract
from tests.fakes.passwords import SOMEBODY
from tests.unit.passwords.gates import Gate, a_pool, all_submitted, asks, closing, told, until
from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane
from tidegate.passwords.work import Alone
from tidegate.ports.passwords import Passwords


class TestHashPool(PasswordsContract):
    def opened(self) -> AbstractAsyncContextManager[Passwords]:
        return closing(a_pool())

    @asynccontextmanager
    async def saturated(self) -> AsyncIterator[Passwords]:
        async with closing(a_pool(threads=1, queue_max=0)) as pool:
            gate = Gate()
            blocker = asyncio.create_task(pool._result_of(Alone(lambda: gate.verify(b"")), Lane.LOGIN, None))
            await gate.entered(1)
            try:
                yield pool
            finally:
                gate.open()
                await blocker


def test_there_are_never_more_threads_at_it_than_threads(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=2, queue_max=8)) as pool:
            callers = [asks(pool, str(number)) for number in range(10)]
            await gate.entered(2)
            assert (pool.threads, pool.running, pool.waiting) == (2, 2, 8)
            assert (pool.waiting_in(Lane.LOGIN), pool.waiting_in(Lane.REGISTER)) == (8, 0)
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
            await asyncio.gather(*(asks(pool, str(number)) for number in range(8)))
            assert gate.passwords == [str(number).encode() for number in range(8)]

    told(story())


def test_the_better_lane_goes_first(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1)) as pool:
            callers = [asks(pool, "running")]
            await gate.entered(1)
            callers += [asks(pool, lane, lane=lane) for lane in (Lane.IMPORT, Lane.REGISTER, Lane.LOGIN, Lane.KNOWN_DEVICE)]
            await all_submitted(pool, 5)
            gate.open()
            await asyncio.gather(*callers)
            assert gate.passwords == [b"running", b"known_device", b"login", b"register", b"import"]

    told(story())


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(gate: Gate) -> None:
    async def story() -> None:
        refused: Counter[tuple[Lane, str]] = Counter()
        async with closing(a_pool(threads=2, queue_max=3, on_refused=lambda *seen: refused.update([seen]))) as pool:
            pool._scheduler.hash_s = 2.0
            callers = [asks(pool, str(number)) for number in range(5)]
            await all_submitted(pool, 5)
            assert pool.is_alive()
            with pytest.raises(HashPoolSaturated) as caught:
                await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            assert caught.value.retry_after_s == pytest.approx(2.0)
            assert refused == {(Lane.LOGIN, "full"): 1}
            gate.open()
            await asyncio.gather(*callers)
            assert await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)

    told(story())


def test_a_job_that_could_not_start_in_time_is_refused_though_there_are_places(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=100, wait_s_max=5)) as pool:
            pool._scheduler.hash_s = 2.0
            callers = [asks(pool, str(number)) for number in range(3)]  # the last waits for two hashes: 4 s
            await all_submitted(pool, 3)
            for refused in (
                pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN),
                pool.hash("x", lane=Lane.LOGIN),
                pool.imitate(lane=Lane.LOGIN),
            ):
                with pytest.raises(HashPoolSaturated):
                    await refused
            gate.open()
            await asyncio.gather(*callers)

    told(story())


def test_dear_hashes_do_not_close_an_idle_pool(gate: Gate) -> None:
    """The mean may exceed the longest wait; a job that need not wait is admitted all the same, or it would never sink."""

    async def story() -> None:
        async with closing(a_pool(threads=1, wait_s_max=1)) as pool:
            pool._scheduler.hash_s = 1000.0
            gate.open()
            assert await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)

    told(story())


def test_whoever_could_not_start_in_time_hears_it_when_the_time_is_over_and_is_not_hashed(gate: Gate) -> None:
    """And not when a thread comes to it: the thread here is busy all the while."""

    async def story() -> None:
        refused: Counter[tuple[Lane, str]] = Counter()
        async with closing(a_pool(threads=1, wait_s_max=0.05, on_refused=lambda *seen: refused.update([seen]))) as pool:
            running = asks(pool, "running")
            await gate.entered(1)
            late = [asks(pool, "late"), asks(pool, "late too")]
            for caller in late:
                with pytest.raises(HashPoolSaturated) as caught:
                    await caller
                assert caught.value.retry_after_s > 0
            assert refused == {(Lane.LOGIN, "late"): 2}
            assert not running.done()
            gate.open()
            assert await running
            assert gate.passwords == [b"running"]
            assert await pool.matches("again", "any", user_id=SOMEBODY, lane=Lane.LOGIN)

    told(story())


def test_a_job_that_is_late_when_its_turn_comes_is_not_hashed(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop may be behind: then the thread sees it first."""

    async def story() -> None:
        now = 1000.0
        monkeypatch.setattr("tidegate.passwords.pool.monotonic", lambda: now)
        async with closing(a_pool(threads=1, wait_s_max=5)) as pool:
            running = asks(pool, "running")
            await gate.entered(1)
            early = asks(pool, "early")
            await all_submitted(pool, 2)
            now += 2
            late = asks(pool, "late")
            await all_submitted(pool, 3)
            now += 4  # 6 s after `early`, 4 s after `late`
            gate.open()
            assert await running
            assert await late
            assert gate.passwords == [b"running", b"late"]
            pool._refuse_late()
            with pytest.raises(HashPoolSaturated):
                await early

    told(story())


def test_a_caller_who_has_gone_frees_no_place_before_the_hash_is_done(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=0)) as pool:
            caller = asks(pool, "x")
            await gate.entered(1)
            caller.cancel()
            with suppress(asyncio.CancelledError):
                await caller
            assert pool.running == 1
            with pytest.raises(HashPoolSaturated):
                await pool.matches("y", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            gate.open()
            await until(pool.is_idle)
            assert await pool.matches("y", "any", user_id=SOMEBODY, lane=Lane.LOGIN)

    told(story())


def test_a_caller_who_has_gone_before_the_start_costs_neither_a_hash_nor_a_place(gate: Gate) -> None:
    """A storm of clients who hang up must not keep the cores busy for nobody (STACK.md, trap 6)."""

    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=2)) as pool:
            running = asks(pool, "running")
            await gate.entered(1)
            gone, stays = asks(pool, "gone"), asks(pool, "stays")
            await all_submitted(pool, 3)
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
            assert pool.waiting == 1
            comes = asks(pool, "comes")
            await all_submitted(pool, 3)
            gate.open()
            assert all(await asyncio.gather(running, stays, comes))
            assert gate.passwords == [b"running", b"stays", b"comes"]
            assert (pool.running, pool.waiting) == (0, 0)

    told(story())


def test_the_lanes_that_are_full_are_named(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=2)) as pool:
            assert pool.full_lanes() == []
            callers = [asks(pool, "running")]
            await gate.entered(1)
            assert pool.full_lanes() == []  # that of rehashes is not told of
            callers += [asks(pool, "1", lane=Lane.REGISTER), asks(pool, "2", lane=Lane.REGISTER)]
            await all_submitted(pool, 3)
            assert pool.full_lanes() == [Lane.REGISTER, Lane.IMPORT]
            gate.open()
            await asyncio.gather(*callers)
            assert pool.full_lanes() == []

    told(story())


def test_an_unreadable_hash_needs_no_thread() -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=0)) as pool:
            hashed = 0

            def count(_seconds: float) -> None:
                nonlocal hashed
                hashed += 1

            pool._on_hashed = count
            assert await pool.matches("x", "$1$not$ours", user_id=SOMEBODY, lane=Lane.LOGIN) is False
            assert hashed == 0

    told(story())


def test_a_newcomer_of_a_better_lane_gets_the_place_of_a_worse_one(gate: Gate) -> None:
    async def story() -> None:
        refused: Counter[tuple[Lane, str]] = Counter()
        async with closing(a_pool(threads=1, queue_max=2, on_refused=lambda *seen: refused.update([seen]))) as pool:
            running = asks(pool, "running")
            await gate.entered(1)
            first, second = asks(pool, "first", lane=Lane.REGISTER), asks(pool, "second", lane=Lane.REGISTER)
            await all_submitted(pool, 3)
            login = asks(pool, "login")
            with pytest.raises(HashPoolSaturated):
                await second
            assert refused == {(Lane.REGISTER, "displaced"): 1}
            gate.open()
            assert all(await asyncio.gather(running, login, first))
            assert gate.passwords == [b"running", b"login", b"first"]

    told(story())


def test_a_rehash_never_waits(gate: Gate) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1)) as pool:
            running = asks(pool, "running")
            await gate.entered(1)
            with pytest.raises(HashPoolSaturated):
                await pool.hash("x", lane=Lane.REHASH)
            gate.open()
            await running
            assert not pool.is_outdated(await pool.hash("x", lane=Lane.REHASH))

    told(story())


class TestSharing:
    """Identical retries in flight are one hash."""

    def test_the_same_password_for_the_same_hash_is_compared_once(self, gate: Gate) -> None:
        async def story() -> None:
            shared: Counter[Lane] = Counter()
            async with closing(a_pool(threads=1, queue_max=1, on_shared=lambda lane: shared.update([lane]))) as pool:
                callers = [asks(pool, "same") for _ in range(5)]
                await gate.entered(1)
                other = asks(pool, "other")
                await all_submitted(pool, 2)
                callers += [asks(pool, "same"), asks(pool, "other")]  # though there is no place left
                await asyncio.sleep(0)
                assert shared == {Lane.LOGIN: 6}
                gate.open()
                assert await asyncio.gather(other, *callers) == [True] * 8
                assert gate.passwords == [b"same", b"other"]
                assert await pool.matches("same", "any", user_id=SOMEBODY, lane=Lane.LOGIN)  # that one is over: a new hash
                assert gate.passwords[2:] == [b"same"]

        told(story())

    def test_another_user_of_the_same_hash_is_another_job(self, gate: Gate) -> None:
        """Nobody's salt is another's; where it is, somebody copied a row, and is to see what a login costs."""

        async def story() -> None:
            async with closing(a_pool(threads=1)) as pool:
                others = [pool.matches("same", "any", user_id=UUID(int=number), lane=Lane.LOGIN) for number in (1, 2)]
                gate.open()
                assert await asyncio.gather(*others) == [True, True]
                assert gate.passwords == [b"same", b"same"]

        told(story())

    def test_another_hash_or_another_password_is_another_job(self) -> None:
        async def story() -> None:
            async with closing(a_pool(threads=1, queue_max=100)) as pool:
                mine, yours = [await pool.hash("mine", lane=Lane.REGISTER) for _ in range(2)]
                tried = [("mine", mine), ("mine", yours), ("yours", mine), ("", mine)] * 5
                answers = await asyncio.gather(*(pool.matches(*each, user_id=SOMEBODY, lane=Lane.LOGIN) for each in tried))
                assert answers == [True, True, False, False] * 5

        told(story())

    def test_it_goes_on_for_those_who_stay(self, gate: Gate) -> None:
        async def story() -> None:
            async with closing(a_pool(threads=1)) as pool:
                running = asks(pool, "running")
                await gate.entered(1)
                gone, stays = asks(pool, "same"), asks(pool, "same")
                await all_submitted(pool, 2)
                await asyncio.sleep(0)
                gone.cancel()
                with suppress(asyncio.CancelledError):
                    await gone
                assert pool.waiting == 1
                gate.open()
                assert all(await asyncio.gather(running, stays))
                assert gate.passwords == [b"running", b"same"]

        told(story())

    def test_a_retry_of_who_has_gone_joins_the_hash_that_is_under_way(self, gate: Gate) -> None:
        async def story() -> None:
            async with closing(a_pool(threads=1)) as pool:
                gone = asks(pool, "same")
                await gate.entered(1)
                gone.cancel()
                retry = asks(pool, "same")
                await asyncio.sleep(0)
                gate.open()
                assert await retry
                assert gate.passwords == [b"same"]

        told(story())

    def test_a_failure_reaches_all_of_them(self, gate: Gate) -> None:
        async def story() -> None:
            async with closing(a_pool(threads=1)) as pool:
                gate.answer = lambda: 1 / 0
                callers = [asks(pool, "same") for _ in range(3)]
                await gate.entered(1)
                gate.open()
                for caller in callers:
                    with pytest.raises(ZeroDivisionError):
                        await caller

        told(story())


def test_in_a_crowd_the_event_loop_is_not_woken_for_each_hash(gate: Gate) -> None:
    def a_hash() -> bool:
        time.sleep(0.002)  # long enough for an event loop that is woken to come
        return True

    async def story() -> None:
        gate.answer = a_hash
        gate.open()
        rung = 0
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def count(*arguments: Any) -> asyncio.Handle:
            nonlocal rung
            rung += 1
            return wake(*arguments)

        async with closing(a_pool(threads=1, queue_max=200)) as pool:
            pool._scheduler.hash_s = 0.1  # so that a hundred of them are a crowd
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(loop, "call_soon_threadsafe", count)
                assert all(await asyncio.gather(*(asks(pool, str(number)) for number in range(100))))
        assert 1 <= rung < 50

    told(story())
