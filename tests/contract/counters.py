"""What all counters that nodes share promise, wherever they are."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tests.contract.stories import told
from tidegate.ports.throttling import Increment, SharedCounters

ADA, BOB = b"user:ada:7", b"user:bob:7"


class CounterWorld(Protocol):
    """Counters as two nodes see them."""

    @property
    def counters(self) -> SharedCounters:
        """What is under test."""

    @property
    def others(self) -> SharedCounters:
        """The same, seen from another node."""

    async def empty(self) -> None:
        """Lose everything, as a server does that was restarted."""

    async def freeze(self) -> None:
        """Let nothing be answered from now on."""


async def read(counters: SharedCounters, *buckets: bytes) -> Sequence[int] | None:
    found = await counters.read(buckets)
    return None if found is None else list(found)


class SharedCountersContract:
    """What every SharedCounters promises."""

    def opened(self) -> AbstractAsyncContextManager[CounterWorld]:
        """Counters that hold nothing, and are up."""
        raise NotImplementedError

    @told
    async def test_what_one_node_adds_another_reads(self, world: CounterWorld) -> None:
        assert await world.counters.add([Increment(ADA, 2, 60), Increment(BOB, 1, 60)]) == [2, 1]
        assert await world.others.add([Increment(ADA, 3, 60)]) == [5]
        assert await read(world.counters, BOB, ADA) == [1, 5]

    @told
    async def test_where_nothing_is_there_is_zero(self, world: CounterWorld) -> None:
        assert await read(world.counters, ADA) == [0]
        assert await read(world.counters) == []

    @told
    async def test_each_name_is_a_bucket_of_its_own(self, world: CounterWorld) -> None:
        """Of whatever bytes; none may reach into another's."""
        buckets = [b"a", b"a:1", b"1:a", b"\0\xff\r\n", b"*", b""]
        for number, bucket in enumerate(buckets, 1):
            await world.counters.add([Increment(bucket, number, 60)])
        assert await read(world.counters, *buckets) == list(range(1, len(buckets) + 1))

    @told
    async def test_a_bucket_that_was_cleared_is_empty_for_everybody(self, world: CounterWorld) -> None:
        await world.counters.add([Increment(ADA, 2, 60), Increment(BOB, 1, 60)])
        world.counters.clear([ADA])
        assert await read(world.counters, ADA, BOB) == [0, 1]
        assert await read(world.others, ADA, BOB) == [0, 1]

    @told
    async def test_after_they_were_emptied_counting_goes_on_from_nothing(self, world: CounterWorld) -> None:
        await world.counters.add([Increment(ADA, 2, 60)])
        await world.empty()
        assert await read(world.counters, ADA) == [0]
        assert await world.counters.add([Increment(ADA, 1, 60)]) == [1]

    @told
    async def test_while_they_do_not_answer_nothing_is_raised(self, world: CounterWorld) -> None:
        await world.freeze()
        assert await read(world.counters, ADA) is None
        assert await world.counters.add([Increment(ADA, 1, 60)]) is None
        world.counters.clear([ADA])
