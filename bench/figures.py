"""Turns samples into the few figures that a table shows, and says whether what was asked for is reached."""

from collections.abc import Sequence
from statistics import median

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """The middle of some samples, and how far they lie apart."""

    median: float
    low: float
    high: float

    def rounded(self, digits: int) -> str:
        """Return it as a table shows it: the median, and the extremes in brackets."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table.

    Attributes:
        text: What it is.
        unit: In words; empty for a quotient.
        spread: Over the rounds.
        at_least: What was asked for; None where nothing was, or a most.
        at_most: The same from the other side.
        digits: After the decimal point.
    """

    text: str
    unit: str = ""
    spread: Spread
    at_least: float | None = None
    at_most: float | None = None
    digits: int = 2

    @property
    def bound(self) -> str:
        """What was asked for, in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def is_reached(self) -> bool | None:
        """Whether the median is what was asked for; None when nothing was."""
        if self.at_least is not None:
            return self.spread.median >= self.at_least
        return None if self.at_most is None else self.spread.median <= self.at_most

    @property
    def verdict(self) -> str:
        """The same in a word."""
        return {None: "", True: "pass", False: "short"}[self.is_reached]


def spread(samples: Sequence[float]) -> Spread:
    """Return the median and the extremes of *samples*, of which there is at least one."""
    return Spread(median(samples), min(samples), max(samples))


def ratio_to_neighbours(rate: float, before: float, after: float) -> float:
    """Return *rate* by the mean of what was measured just before and just after it, on a machine whose speed drifts."""
    return rate / ((before + after) / 2)


def quotient(numerator: float, denominator: float) -> float:
    """Return their quotient; 0 where the denominator is, for then nothing was measured that could be praised."""
    return numerator / denominator if denominator else 0.0
