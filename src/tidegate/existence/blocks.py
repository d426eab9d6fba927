"""Where a name leaves its marks in the filter, and how large a filter has to be.

A blocked bloom filter: the hash of a name chooses one block and, in each lane of it, one bit. Blocks, because in Python
eight bits of one integer are set and tested at the price of one; lanes, because a bit of each is one look-up in a table.
"""

from collections.abc import Iterable
from hashlib import blake2s
from struct import Struct
from typing import Final

LANES: Final = 8
"""Bits that a name sets. At 15.5 bits a name 9 would be better by a tenth, and would cost an eighth more time."""

LANE_BITS: Final = 128

BLOCK_BITS: Final = LANES * LANE_BITS
BLOCK_BYTES: Final = BLOCK_BITS // 8

BITS_PER_NAME: Final = 15.5
"""0.088 % of absent names are taken for present ones in a filter that is exactly full: the mean of
(1 - (127/128)^n)^8 over a Poisson-distributed number n of names in a block. A plain bloom filter of these bits has
0.06 %, and costs eight times as many memory accesses."""

_GROWTH_SHARE: Final = 1 / 32
_GROWTH_NAMES_MIN: Final = 250_000
"""Room for names to come, so that a rebuild is rare. Of 10 million names the share makes 19.98 MB: under the 20 that they
may take."""

_TABLES: Final = tuple([1 << (lane * LANE_BITS + byte % LANE_BITS) for byte in range(256)] for lane in range(LANES))
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = _TABLES

_parts: Final = Struct("<8BQ16x").unpack
"""A digest of 32 bytes: one byte for each lane, and a number for the block."""


def place(name: bytes, blocks: int) -> tuple[int, int]:
    """The block of *name* in a filter of so many *blocks*, and the bits that it sets there."""
    a, b, c, d, e, f, g, h, where = _parts(blake2s(name).digest())
    return where % blocks, _T0[a] | _T1[b] | _T2[c] | _T3[d] | _T4[e] | _T5[f] | _T6[g] | _T7[h]


def capacity_for(names: int) -> int:
    """How many names a filter should be made for, that is to hold *names* now."""
    return names + max(int(names * _GROWTH_SHARE), _GROWTH_NAMES_MIN)


def blocks_for(capacity: int) -> int:
    """How many blocks keep the rate of false positives for *capacity* names."""
    return max(1, int(capacity * BITS_PER_NAME / BLOCK_BITS))


def capacity_of(blocks: int) -> int:
    """How many names *blocks* are for; with more the rate rises, and nothing else happens."""
    return int(blocks * BLOCK_BITS / BITS_PER_NAME)


class Marks:
    """The marks of many names, gathered outside of the shared memory: one integer a block, so no lock is held meanwhile.

    Attributes:
        blocks: One integer each.
        names: How many were taken.
    """

    def __init__(self, blocks: int) -> None:
        self.blocks = [0] * blocks
        self.names = 0

    def take(self, names: Iterable[bytes]) -> None:
        """Add *names*."""
        # `place`, unfolded: a call for each of some million names would take a tenth longer.
        blocks, count, parts, digest_of = self.blocks, len(self.blocks), _parts, blake2s
        t0, t1, t2, t3, t4, t5, t6, t7 = _TABLES
        taken = 0
        for name in names:
            a, b, c, d, e, f, g, h, where = parts(digest_of(name).digest())
            blocks[where % count] |= t0[a] | t1[b] | t2[c] | t3[d] | t4[e] | t5[f] | t6[g] | t7[h]
            taken += 1
        self.names += taken
