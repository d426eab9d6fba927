"""What the existence filter costs: a look at many names and at few, its memory, and the gathering of a whole table.

  python -m bench.existence
      a look into 10 million names and into 10 thousand, in turns
  python -m bench.existence --dsn postgresql://...
      also gathers a filter of the users that are in that database, as the keeper of a node does at its start

CPU time of this process throughout: the machine may be busy with other things.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Final

import msgspec

from tidegate.domain.users import IdentifierKind, LoginIdentifier
from tidegate.existence import memory
from tidegate.existence.blocks import BLOCK_BYTES, Marks, blocks_for, capacity_for
from tidegate.existence.keeper import Keeper
from tidegate.existence.memory import CURRENT, NAMES, FilterMemory, blocks_of, now_ns
from tidegate.existence.shared_filter import SharedFilter
from tidegate.storage.existence import open_existence_database

_FOREVER_NS: Final = 1 << 60
_PORTION: Final = 100_000


@dataclass(frozen=True, slots=True)
class Filled:
    """A filter that decides alone.

    Attributes:
        names: How many are in it.
        filter_bytes: What its blocks take.
        resident_bytes: What the system holds for the memory that processes share.
        marked_per_cpu_s: Names a CPU second while it was filled, without what reading them would cost.
    """

    existence: SharedFilter
    names: int
    filter_bytes: int
    resident_bytes: int
    marked_per_cpu_s: float


@contextmanager
def filled(names: int) -> Iterator[Filled]:
    """Fill a filter with *names* made-up names."""
    descriptor = memory.create()
    shared = FilterMemory(descriptor)
    try:
        used_s = asyncio.run(_fill(shared, names))
        shared.decide_until(now_ns() + _FOREVER_NS)
        yield Filled(
            existence=SharedFilter(shared),
            names=shared.words[NAMES],
            filter_bytes=blocks_of(shared.words[CURRENT]) * BLOCK_BYTES,
            resident_bytes=os.fstat(descriptor).st_blocks * 512,
            marked_per_cpu_s=names / used_s,
        )
    finally:
        shared.close()
        os.close(descriptor)


async def _fill(shared: FilterMemory, names: int) -> float:
    filter_ = await shared.begin(blocks_for(capacity_for(names)))
    marks = Marks(blocks_of(filter_))
    used_s = 0.0
    for first in range(0, names, _PORTION):
        portion = [b"user-%d@example.org" % number for number in range(first, min(names, first + _PORTION))]
        began_s = time.process_time()
        marks.take(portion)
        used_s += time.process_time() - began_s
    await shared.merge(filter_, marks)
    await shared.publish()
    return used_s


@dataclass(frozen=True, slots=True)
class LookCost:
    """What it costs to be told that nobody has a name.

    Attributes:
        us_in_few: CPU time of one look into few names, the median of the rounds, in microseconds.
        us_in_many: Into many.
        ratio: The median of the rounds' quotients, many by few.
        mistaken_share: Of absent names, those that many names take for present ones.
    """

    us_in_few: float
    us_in_many: float
    ratio: float
    mistaken_share: float


def look_cost(few: Filled, many: Filled, *, rounds: int = 40, looks: int = 20_000) -> LookCost:
    """Look for *looks* absent names in *few* and in *many*, in turns that change places each round."""
    absent = [LoginIdentifier(IdentifierKind.USERNAME, f"nobody-{number}") for number in range(looks)]
    in_few: list[float] = []
    in_many: list[float] = []
    for number in range(rounds):
        for filter_, samples in [(few, in_few), (many, in_many)][:: 1 if number % 2 else -1]:
            lacks = filter_.existence.lacks
            began_ns = time.process_time_ns()
            for name in absent:
                lacks(name)
            samples.append((time.process_time_ns() - began_ns) / looks / 1_000)
    ratio = median(many_us / few_us for few_us, many_us in zip(in_few, in_many, strict=True))
    mistaken = sum(not many.existence.lacks(name) for name in absent) / looks
    return LookCost(median(in_few), median(in_many), ratio, mistaken)


@dataclass(frozen=True, slots=True)
class Gathering:
    """What it took to gather a filter from a database.

    Attributes:
        names: How many were found.
        cpu_s: Of the keeper.
        wall_s: From its start to the filter.
        load: Of the machine at the end, over the last minute.
    """

    names: int
    cpu_s: float
    wall_s: float
    load: float


async def gathering(dsn: str) -> Gathering:
    """Gather a filter of all users in the database at *dsn*, which is only read."""
    descriptor = memory.create()
    shared = FilterMemory(descriptor)
    keeper = Keeper(
        memory=shared,
        open_database=partial(open_existence_database, dsn=dsn, connect_timeout_s=5.0),
        decides_alone=False,
        report=lambda event, _: print(event, file=sys.stderr),
    )
    began_s, used_s = time.monotonic(), time.process_time()
    keeping = asyncio.create_task(keeper.run())
    try:
        while not shared.words[CURRENT]:  # noqa: ASYNC110 - the keeper tells nobody
            await asyncio.sleep(0.01)
        cpu_s, wall_s = time.process_time() - used_s, time.monotonic() - began_s
        return Gathering(shared.words[NAMES], cpu_s, wall_s, os.getloadavg()[0])
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        shared.close()
        os.close(descriptor)


def main() -> None:
    """Print what was found, as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.existence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--many", type=int, default=10_000_000, help="names in the large filter")
    parser.add_argument("--few", type=int, default=10_000, help="names in the small one")
    parser.add_argument("--dsn", help="of a database whose users are to be gathered")
    given = parser.parse_args()
    with filled(given.few) as few, filled(given.many) as many:
        found: dict[str, object] = {
            "look": asdict(look_cost(few, many)),
            "many": {
                "names": many.names,
                "filter_bytes": many.filter_bytes,
                "resident_bytes": many.resident_bytes,
                "marked_per_cpu_s": round(many.marked_per_cpu_s),
            },
        }
    if given.dsn:
        found["gathering"] = asdict(asyncio.run(gathering(given.dsn)))
    print(msgspec.json.format(msgspec.json.encode(found)).decode())


if __name__ == "__main__":
    main()
