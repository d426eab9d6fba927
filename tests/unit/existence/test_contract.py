"""The filter in shared memory and the fake keep the same contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.contract.existence import ExistenceFilterContract
from tests.fakes.existence import ExactExistence
from tests.unit.existence.worlds import SharedWorld, opened_world


class FakeWorld:
    """A fake that is loaded and decides as it is told."""

    def __init__(self) -> None:
        self.existence = ExactExistence()
        self.existence.is_loaded = False

    async def load(self) -> None:
        self.existence.is_loaded = True

    def decide(self, *, alone: bool) -> None:
        self.existence.decides = alone


class TestExactExistence(ExistenceFilterContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeWorld]:
        yield FakeWorld()


class TestSharedFilter(ExistenceFilterContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SharedWorld]:
        with opened_world() as world:
            yield world
