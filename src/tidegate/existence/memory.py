"""The memory that the processes of a node share: anonymous, so that nobody else can name it, tear it or find it stale.

`tidegate api` makes it and hands its descriptor down, as it does with the listening socket. It is no file: it has no path,
it cannot be truncated (sealed), and it ends with the last process that has it. Two nodes on one machine cannot meet in it,
and no start can find what an earlier one left.

Page 0 is the header, words of 64 bits. Behind it lie two regions, of which a filter takes one and its successor the other:
the numbers of filters rise by one or two, and an odd one lies in the second. A region costs what is written into it.

Who may write what:
- Bits, and the words that say how many names they stand for: whoever holds the lock. An update of a block is a reading and
  a writing, so without the lock one of two could lose the other's bits.
- `CURRENT` and `NEXT`: the keeper, holding the lock.
- `DECIDES_UNTIL`, `FED_UNTIL`: the keeper.
Whoever reads needs no lock: bits are only ever added to a region while a word points to it, each word is written as one,
and a reader looks at the word again after reading the region.
"""

import asyncio
import fcntl
import mmap
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from struct import pack
from typing import Final

from tidegate.existence.blocks import BLOCK_BYTES, Marks, capacity_of, place

_MAGIC: Final = 0x5447_4558_4953_5401
"""\"TGEXIST\" and the version of this layout."""

MAGIC, FIRST_NOTE, CURRENT, NEXT, DECIDES_UNTIL, NAMES, NAMES_NEXT, FED_UNTIL = range(8)
"""Words of the header.

FIRST_NOTE: random; with the number of a filter it makes a note that no other filter of any node has.
CURRENT, NEXT: a filter that answers and one that is being gathered, as `_packed`; 0: none.
DECIDES_UNTIL: until when a "no" of the current filter is final, in nanoseconds of `now_ns`; 0: it is not.
NAMES, NAMES_NEXT: how many names were added to each, about.
FED_UNTIL: whoever was added before, on any node, is in the current filter; in nanoseconds of `now_ns`; 0: nobody tells us.
"""

_HEADER_BYTES: Final = mmap.PAGESIZE
_REGION_BYTES: Final = 512 << 20
"""Of address space. 277 million names; with more than that a filter is over-full and stays so."""

BLOCKS_MAX: Final = _REGION_BYTES // BLOCK_BYTES
_SIZE: Final = _HEADER_BYTES + 2 * _REGION_BYTES

_BLOCKS_MASK: Final = (1 << 32) - 1

_LOCK_PAUSE_S: Final = 0.001
_MERGED_AT_ONCE: Final = 256
"""Blocks, or names, for which the keeper holds the lock: half a millisecond. Then it leaves it free for longer, or
registrations, which try once a millisecond, would hardly ever find it so."""


class NoSharedMemoryError(Exception):
    """This system has none of the kind that is needed, or the descriptor is of something else."""


def create() -> int:
    """Make the memory, with no filter in it, and return its descriptor, to be handed to child processes.

    Raises:
        NoSharedMemoryError: The system cannot.
    """
    try:
        descriptor = os.memfd_create("tidegate-existence", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, _SIZE)
        os.pwrite(descriptor, pack("@2Q", _MAGIC, secrets.randbits(62) | 1), 0)
        # Nobody who has the descriptor can make a page vanish under the others, which would kill them (SIGBUS).
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except (AttributeError, OSError) as error:  # only Linux has it; a container may forbid it
        raise NoSharedMemoryError("this system offers no sealed anonymous memory (memfd_create)") from error
    return descriptor


def now_ns() -> int:
    """Nanoseconds on a clock that all processes of the machine share, and that goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _packed(number: int, blocks: int) -> int:
    return number << 32 | blocks


def blocks_of(filter_: int) -> int:
    """How many blocks a filter has, by its word in the header."""
    return filter_ & _BLOCKS_MASK


def start_of(filter_: int) -> int:
    """Where its region begins, in bytes."""
    return _HEADER_BYTES + _REGION_BYTES * (filter_ >> 32 & 1)


class FilterMemory:
    """The shared memory as one process sees it.

    Attributes:
        map: All of it.
        words: The header.
    """

    def __init__(self, descriptor: int) -> None:
        """Map what `create` made.

        Raises:
            NoSharedMemoryError: *descriptor* is of something else, or there is no room for it.
        """
        self._descriptor = descriptor
        try:
            self.map = mmap.mmap(descriptor, _SIZE)
        except (OSError, ValueError) as error:
            raise NoSharedMemoryError("the memory of the existence filter cannot be mapped") from error
        self.words = memoryview(self.map)[:_HEADER_BYTES].cast("Q")
        if self.words[MAGIC] != _MAGIC:
            self.close()
            raise NoSharedMemoryError("the memory of the existence filter is of something else")

    def close(self) -> None:
        """Unmap it. The descriptor stays open."""
        self.words.release()
        self.map.close()

    def note_of(self, filter_: int) -> int:
        """The number under which the database knows a filter: no two of any node have the same."""
        return self.words[FIRST_NOTE] + (filter_ >> 32)

    def try_lock(self) -> bool:
        """Take the lock if it is free; it ends with the process that has it, however that ends."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except OSError:
            return False
        return True

    def unlock(self) -> None:
        """Give the lock back."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the lock in the block; other tasks go on while we wait for it, but none may await inside."""
        while not self.try_lock():  # noqa: ASYNC110 - the kernel tells nobody that it is free
            await asyncio.sleep(_LOCK_PAUSE_S)
        try:
            yield
        finally:
            self.unlock()

    def holds(self, filter_: int, name: bytes) -> bool:
        """Whether all bits of *name* are set. Worth nothing if the word that gave *filter_* has changed meanwhile."""
        block, bits = place(name, filter_ & _BLOCKS_MASK)
        at = _HEADER_BYTES + _REGION_BYTES * (filter_ >> 32 & 1) + block * BLOCK_BYTES
        return int.from_bytes(self.map[at : at + BLOCK_BYTES], "little") & bits == bits

    def insert(self, filter_: int, names: Iterable[bytes]) -> None:
        """Set the bits of *names* and count those that were not there. Only with the lock held."""
        start, blocks, added = start_of(filter_), blocks_of(filter_), 0
        for name in names:
            block, bits = place(name, blocks)
            at = start + block * BLOCK_BYTES
            before = int.from_bytes(self.map[at : at + BLOCK_BYTES], "little")
            if before & bits != bits:
                self.map[at : at + BLOCK_BYTES] = (before | bits).to_bytes(BLOCK_BYTES, "little")
                added += 1
        self.words[NAMES_NEXT if filter_ == self.words[NEXT] else NAMES] += added

    # What follows is the keeper's.

    def is_wanting(self) -> bool:
        """Whether a filter is to be gathered.

        There is none; or the current one has more names than it was made for, and a larger one can be had; or a keeper has
        died while it gathered the next one, in which everybody notes names since, so that no other could ever decide.
        """
        blocks = blocks_of(self.words[CURRENT])
        is_full = capacity_of(blocks) < self.words[NAMES] and blocks < BLOCKS_MAX
        return not blocks or is_full or self.words[NEXT] != 0

    def decide_until(self, until_ns: int) -> None:
        """Let a "no" of the current filter be final until then."""
        self.words[DECIDES_UNTIL] = max(0, until_ns)

    def fed_until(self, moment_ns: int) -> None:
        """Say that whoever was added before *moment_ns*, on whichever node, is in the current filter."""
        self.words[FED_UNTIL] = max(self.words[FED_UNTIL], moment_ns)

    async def begin(self, blocks: int) -> int:
        """Begin a new filter beside the current one, and return it: from now on every name is added to both."""
        async with self.locked():
            current = self.words[CURRENT]
            # What a killed keeper has begun is not gone on with: its number is used up, and so is its note.
            number = max(current, self.words[NEXT]) >> 32
            number += 1 if (number + 1 ^ current >> 32) & 1 else 2
            following = _packed(number, min(blocks, BLOCKS_MAX))
            self._empty(following)
            self.words[NAMES_NEXT] = 0
            self.words[NEXT] = following
        return following

    async def merge(self, filter_: int, marks: Marks) -> None:
        """Add what was gathered to a filter, a few blocks at a time."""
        start = start_of(filter_)
        for first in range(0, len(marks.blocks), _MERGED_AT_ONCE):
            async with self.locked():
                for block, bits in enumerate(marks.blocks[first : first + _MERGED_AT_ONCE], first):
                    if not bits:
                        continue
                    at = start + block * BLOCK_BYTES
                    before = int.from_bytes(self.map[at : at + BLOCK_BYTES], "little")
                    self.map[at : at + BLOCK_BYTES] = (before | bits).to_bytes(BLOCK_BYTES, "little")
            await asyncio.sleep(_LOCK_PAUSE_S)
        async with self.locked():
            self.words[NAMES_NEXT] += marks.names

    async def add(self, filter_: int, names: list[bytes]) -> None:
        """Add *names* to a filter, a few at a time."""
        for first in range(0, len(names), _MERGED_AT_ONCE):
            async with self.locked():
                self.insert(filter_, names[first : first + _MERGED_AT_ONCE])
            await asyncio.sleep(_LOCK_PAUSE_S)

    async def publish(self) -> None:
        """Let the filter that was begun take the place of the current one."""
        async with self.locked():
            before, following = self.words[CURRENT], self.words[NEXT]
            self.words[NAMES] = self.words[NAMES_NEXT]
            self.words[CURRENT] = following
            self.words[NEXT] = 0
            if before:
                self._empty(before)

    def _empty(self, filter_: int) -> None:
        """Give the pages of its region back; whoever still reads there sees zeros, and then that the word has changed."""
        self.map.madvise(mmap.MADV_REMOVE, start_of(filter_), _REGION_BYTES)
