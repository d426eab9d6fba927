"""What the hash pool measures, what it imitates by it, and which hashes it finds outdated."""

import asyncio
from contextlib import suppress

import pytest

from tests.fakes.passwords import SOMEBODY
from tests.unit.passwords.gates import Gate, a_pool, all_submitted, asks, closing, told
from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane
from tidegate.passwords.profiles import HashProfile


def test_every_finished_hash_is_observed_and_none_that_was_not_made(gate: Gate) -> None:
    async def story() -> None:
        seen: list[float] = []
        async with closing(a_pool(threads=1, on_hashed=seen.append)) as pool:
            running = asks(pool, "running")
            await gate.entered(1)
            gone = asks(pool, "gone")
            await all_submitted(pool, 2)
            running.cancel()  # its hash is made all the same
            gone.cancel()
            gate.open()
            await pool.hash("x", lane=Lane.LOGIN)
            assert len(seen) == 2
            assert min(seen) > 0

    told(story())


def test_the_mean_follows_the_load(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1)) as pool:
            now = 1000.0
            monkeypatch.setattr("tidegate.passwords.pool.monotonic", lambda: now)

            def in_ten_seconds() -> bool:
                nonlocal now
                now += 10
                return True

            gate.open()
            gate.answer = in_ten_seconds
            for _ in range(100):
                await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            assert pool._scheduler.hash_s == pytest.approx(10, rel=0.01)

    told(story())


def test_an_imitation_takes_as_long_as_one_of_the_latest_matches(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with closing(a_pool(threads=1)) as pool:
            now = 1000.0
            took = 0.0
            slept: list[float] = []

            async def asleep(seconds: float) -> None:
                slept.append(seconds)

            def taking() -> bool:
                nonlocal now
                now += took
                return True

            monkeypatch.setattr("tidegate.passwords.pool.monotonic", lambda: now)
            monkeypatch.setattr("tidegate.passwords.pool.sleep", asleep)
            await pool.imitate(lane=Lane.LOGIN)
            assert slept == [pool._first_hash_s]
            assert slept[0] > 0

            gate.open()
            gate.answer = taking
            for seconds in (7.0, 3.0, 5.0):
                took = seconds
                await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            slept.clear()
            for _ in range(100):
                await pool.imitate(lane=Lane.LOGIN)
            assert set(slept) == {7.0, 3.0, 5.0}

            took = 1.0
            for _ in range(256):
                await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            slept.clear()
            for _ in range(100):
                await pool.imitate(lane=Lane.LOGIN)
            assert set(slept) == {1.0}

    told(story())


def test_what_is_imitated_is_matches_and_the_wait_before_them(gate: Gate) -> None:
    """Neither a registration's hash nor a refusal is what a known user's login looks like."""

    async def story() -> None:
        async with closing(a_pool(threads=1, queue_max=1)) as pool:
            await pool.hash("x", lane=Lane.LOGIN)
            callers = [asks(pool, str(number)) for number in range(2)]
            await all_submitted(pool, 2)
            with suppress(HashPoolSaturated):
                await pool.matches("x", "any", user_id=SOMEBODY, lane=Lane.LOGIN)
            gate.open()
            await asyncio.gather(*callers)
            assert len(pool._samples[Lane.LOGIN]) == 2

    told(story())


def test_only_a_hash_of_just_this_profile_is_current() -> None:
    async def story() -> None:
        async with closing(a_pool()) as pool:
            current = await pool.hash("x", lane=Lane.LOGIN)
            assert not pool.is_outdated(current)
            for other in (
                HashProfile("dearer", 16, 1),
                HashProfile("slower", 8, 2),
                HashProfile("wider", 16, 1, parallelism=2),
                HashProfile("longer", 8, 1, hash_len=64),
                HashProfile("saltier", 8, 1, salt_len=32),
            ):
                async with closing(a_pool(profile=other)) as another:
                    assert pool.is_outdated(await another.hash("x", lane=Lane.LOGIN))
            for spoilt in (current[:-1], current + "A", current.replace("argon2id", "argon2i"), "!" + current, ""):
                assert pool.is_outdated(spoilt)

    told(story())
