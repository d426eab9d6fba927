"""The fake counters keep the contract of the real ones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contract.counters import SharedCountersContract
from tests.fakes.counters import InMemoryCounters


class FakeCounterWorld:
    """One dictionary that both nodes see."""

    def __init__(self) -> None:
        self.counters = self.others = InMemoryCounters()

    async def empty(self) -> None:
        self.counters.buckets.clear()

    async def freeze(self) -> None:
        self.counters.is_late = True


class TestInMemoryCounters(SharedCountersContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeCounterWorld]:
        yield FakeCounterWorld()
