"""The shared memory as one process has it, and what its keeper would do."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tidegate.domain.users import IdentifierKind, LoginIdentifier
from tidegate.existence import memory
from tidegate.existence.blocks import Marks, blocks_for
from tidegate.existence.memory import FilterMemory, blocks_of, now_ns
from tidegate.existence.shared_filter import SharedFilter

FOREVER_NS = 1 << 60


def username(name: str) -> LoginIdentifier:
    """The login identifier of whoever has the username *name*."""
    return LoginIdentifier(IdentifierKind.USERNAME, name)


class SharedWorld:
    """A filter in shared memory."""

    def __init__(self, shared: FilterMemory) -> None:
        self.memory = shared
        self.existence = SharedFilter(shared)

    async def load(self, names: Iterable[str] = (), *, capacity: int = 1_000) -> None:
        """Gather *names* into a new filter."""
        filter_ = await self.memory.begin(blocks_for(capacity))
        marks = Marks(blocks_of(filter_))
        marks.take(name.encode() for name in names)
        await self.memory.merge(filter_, marks)
        await self.memory.publish()

    def decide(self, *, alone: bool) -> None:
        self.memory.decide_until(now_ns() + FOREVER_NS if alone else 0)


@contextmanager
def opened_memory() -> Iterator[FilterMemory]:
    """New memory, gone afterwards."""
    descriptor = memory.create()
    shared = FilterMemory(descriptor)
    try:
        yield shared
    finally:
        shared.close()
        os.close(descriptor)


@contextmanager
def opened_world() -> Iterator[SharedWorld]:
    """A filter that is not loaded."""
    with opened_memory() as shared:
        yield SharedWorld(shared)
