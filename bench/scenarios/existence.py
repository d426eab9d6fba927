"""What it costs to be told that nobody has a name, among ten million names and among ten thousand."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from bench.field import Field
from bench.figures import Figure, spread
from bench.ground import CannotMeasureError
from bench.turns import Look, Round

RATIO_MAX: Final = 1.3
MEGABYTES_MAX: Final = 20
MISTAKEN_MAX: Final = 0.001
_REPOSITORY: Final = Path(__file__).parents[2]


class Many(msgspec.Struct, frozen=True):
    """Of what `bench.existence` prints, how large the filter of many names is."""

    filter_bytes: int


class LookCost(msgspec.Struct, frozen=True):
    """Of what `bench.existence` prints, what a look costs; see there."""

    us_in_few: float
    us_in_many: float
    ratio: float
    mistaken_share: float


class Printed(msgspec.Struct, frozen=True):
    """What `bench.existence` prints."""

    look: LookCost
    many: Many


@dataclass(frozen=True, slots=True)
class Existence:
    """In a process of its own, which fills both filters and looks into them in turn; no service takes part."""

    name: str = "existence"
    title: str = "Looks into the existence filter, 10 million names ÷ 10 thousand"
    peers: Sequence[str] = ()

    def round(self, field: Field, number: int) -> Round:  # noqa: ARG002 - it asks no service
        """One look at the figures of that process."""
        done = subprocess.run(
            [sys.executable, "-m", "bench.existence"], cwd=_REPOSITORY, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CannotMeasureError(f"The existence filter cannot be measured: {done.stderr.strip()[-200:]}")
        printed = msgspec.json.decode(done.stdout, type=Printed)
        return [
            Look(
                us_in_few=printed.look.us_in_few,
                us_in_many=printed.look.us_in_many,
                ratio=printed.look.ratio,
                mistaken_share=printed.look.mistaken_share,
                filter_bytes=printed.many.filter_bytes,
            )
        ]

    def told(self, turns: Round) -> Round:
        """See `Scenario`: all."""
        return turns

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Scenario`."""
        looks = [turn for turns in rounds for turn in turns if isinstance(turn, Look)]
        return [
            Figure(text=self.title, spread=spread([look.ratio for look in looks]), at_most=RATIO_MAX),
            Figure(
                text="a look among 10 million names",
                unit="us of CPU",
                spread=spread([look.us_in_many for look in looks]),
            ),
            Figure(
                text="the filter of 10 million names",
                unit="MB",
                spread=spread([look.filter_bytes / 1e6 for look in looks]),
                at_most=MEGABYTES_MAX,
                digits=1,
            ),
            Figure(
                text="absent names taken for present ones",
                spread=spread([look.mistaken_share for look in looks]),
                at_most=MISTAKEN_MAX,
                digits=5,
            ),
        ]
