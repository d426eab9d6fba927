"""Processes that share a filter lose nothing of each other's, whoever is stopped or killed in the middle.

Seen to fail without the lock: some of the bits were lost.
"""

import asyncio
import base64
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.contract.users import new_user
from tests.integration.existence.worlds import ADD
from tests.integration.storage.worlds import bystander, opened_pool, until
from tests.unit.existence.worlds import SharedWorld, username
from tidegate.existence import memory
from tidegate.existence.blocks import BLOCK_BYTES, Marks
from tidegate.existence.filtered_users import FilteredUsers
from tidegate.existence.memory import CURRENT, FilterMemory, blocks_of, start_of
from tidegate.existence.shared_filter import NOWHERE
from tidegate.storage.users import PostgresUsers


@contextmanager
def shared_world() -> Iterator[tuple[SharedWorld, int]]:
    """New memory, and its descriptor for other processes."""
    descriptor = memory.create()
    try:
        yield SharedWorld(FilterMemory(descriptor)), descriptor
    finally:
        os.close(descriptor)


@contextmanager
def another_process(descriptor: int, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Start `registering` and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.existence.registering", str(descriptor), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[descriptor],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def await_done(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"


def test_two_that_add_at_once_lose_no_bit() -> None:
    """Into few blocks, so that they meet in one often."""
    each = 6_000
    with shared_world() as (world, descriptor):
        asyncio.run(world.load(capacity=16_900))
        with (
            another_process(descriptor, "ada", str(each)) as first,
            another_process(descriptor, "bob", str(each)) as second,
        ):
            go(first)
            go(second)
            await_done(first)
            await_done(second)
        current = world.memory.words[CURRENT]
        expected = Marks(blocks_of(current))
        expected.take(b"%s-%d" % (who, number) for who in (b"ada", b"bob") for number in range(each))
        start = start_of(current)
        found = world.memory.map[start : start + blocks_of(current) * BLOCK_BYTES]
        assert found == b"".join(bits.to_bytes(BLOCK_BYTES, "little") for bits in expected.blocks)


def test_what_one_adds_the_other_sees_at_once() -> None:
    with shared_world() as (world, descriptor):
        asyncio.run(world.load())
        world.decide(alone=True)
        with another_process(descriptor, "ada", "1") as other:
            assert world.existence.lacks(username("ada-0"))
            go(other)
            await_done(other)
            assert not world.existence.lacks(username("ada-0"))


def test_one_that_is_stopped_with_the_lock_stops_nobody_and_dead_it_has_none() -> None:
    with shared_world() as (world, descriptor):
        asyncio.run(world.load())
        with another_process(descriptor, "hold") as holder:
            holder.send_signal(signal.SIGSTOP)
            assert world.existence.add([username("ada")]) is None
            assert not world.existence.might_contain(username("ada"))
            holder.kill()
            holder.wait()
            assert world.existence.add([username("ada")]) not in {None, NOWHERE}


@contextmanager
def kept_filter(dsn: str, descriptor: int) -> Iterator[None]:
    """The process that keeps the filter, as `tidegate api` starts it; killed at the end."""
    settings = {
        "PRIMARY_DSN": dsn,
        "EXISTENCE_FILTER": "alone",
        "SIGNING_KEYS_FILE": "/nowhere",
        "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="),
        "LOG_FILE": os.devnull,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tidegate", "existence-process", str(descriptor)],
        env=environment | {f"TIDEGATE_{name}": value for name, value in settings.items()},
        pass_fds=[descriptor],
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_keeper_that_is_killed_again_and_again_never_makes_a_user_unknown(database: str) -> None:
    """In the middle of gathering, of a claim, of its lease: whoever has been added is never surely lacking."""
    lots = random.Random(20_26)
    added: list[str] = []

    async def add_and_look(users: FilteredUsers, world: SharedWorld) -> None:
        async with bystander(database) as somebody:
            for number in range(10**6):
                name = f"user-{len(added)}"
                if number % 200 == 199:
                    await somebody.execute(ADD, name)
                else:
                    await users.add(new_user(username=name))
                added.append(name)
                for known in (name, lots.choice(added)):
                    assert not world.existence.lacks(username(known)), known
                    assert await users.find(username(known)) is not None
                await asyncio.sleep(0.002)

    async def story(world: SharedWorld, descriptor: int) -> None:
        async def decides() -> bool:
            assert adding.cancelled() or not adding.done(), adding.exception()
            return world.existence.decides

        async with opened_pool(database, size=4) as pool:
            stored = PostgresUsers(pool)
            users = FilteredUsers(stored, nearby=stored, existence=world.existence)
            adding = asyncio.create_task(add_and_look(users, world))
            for number in range(6):
                with kept_filter(database, descriptor):
                    if number % 2:
                        await until(decides)
                    else:
                        await asyncio.sleep(lots.uniform(0.3, 1.0))
                if number == 3:
                    await asyncio.wait_for(world.memory.begin(5_000), 10)  # as one that died while it gathered the next
            adding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await adding
            with kept_filter(database, descriptor):
                await until(decides)
                assert not any(world.existence.lacks(username(name)) for name in added)
                assert world.existence.lacks(username("nobody"))

    with shared_world() as (world, descriptor):
        asyncio.run(story(world, descriptor))
    assert len(added) > 100
