"""Turns samples into the few figures that a table shows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some samples, and how far they lie apart."""

    median: float
    low: float
    high: float

    def rounded(self, digits: int) -> str:
        """Return it as a table shows it: the median, and the extremes in brackets."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def spread(samples: Sequence[float]) -> Spread:
    """Return the median and the extremes of *samples*, of which there is at least one."""
    return Spread(median(samples), min(samples), max(samples))


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that *percent* of all *samples* do not exceed (nearest rank: always one that occurred)."""
    rank = math.ceil(percent / 100 * len(samples))
    return sorted(samples)[max(rank, 1) - 1]


def ratio_to_neighbours(rate: float, before: float, after: float) -> float:
    """Return *rate* by the mean of what was measured just before and just after it, on a machine whose speed drifts."""
    return rate / ((before + after) / 2)


def put_section(page: str, name: str, body: str) -> str:
    """Return *page*, in Markdown, with the section *name* replaced by *body*, or with it at the end if it was not there.

    A section begins at its heading of the second level and ends before the next one.
    """
    heading = f"## {name}\n"
    section = f"{heading}\n{body.strip()}\n"
    before, found, rest = page.partition(heading)
    if not found:
        return f"{page.rstrip()}\n\n{section}" if page.strip() else section
    _, next_heading, after = rest.partition("\n## ")
    return f"{before}{section}{next_heading}{after}"
