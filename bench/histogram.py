"""Keeps latencies of any size to within one percent in a few hundred numbers, so that rounds can be added up.

A logarithmic scale whose every octave is cut into equal steps, as HdrHistogram's.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final, Self

import msgspec

_STEPS_BITS: Final = 7
_STEPS: Final = 1 << _STEPS_BITS
"""In each octave: no sample is off by more than 1/128 of itself."""


class Histogram(msgspec.Struct, frozen=True):
    """Counts by size.

    Attributes:
        counts: How many samples there are of each size, by the number of the step (see `_step`).
        largest_s: The greatest sample, in seconds, as it was.
    """

    counts: dict[int, int] = {}
    largest_s: float = 0.0

    @classmethod
    def of(cls, samples_s: Iterable[float]) -> Self:
        """Count *samples_s*, in seconds; what is below a microsecond counts as one microsecond."""
        largest_s = 0.0
        counts: Counter[int] = Counter()
        for sample_s in samples_s:
            counts[_step(sample_s)] += 1
            largest_s = max(largest_s, sample_s)
        return cls(dict(sorted(counts.items())), largest_s)

    def __add__(self, other: "Histogram") -> "Histogram":
        counts = Counter(self.counts)
        counts.update(other.counts)
        return Histogram(dict(sorted(counts.items())), max(self.largest_s, other.largest_s))

    @property
    def total(self) -> int:
        """How many samples there are."""
        return sum(self.counts.values())

    def percentile_ms(self, percent: float) -> float:
        """Return what *percent* of all samples do not exceed, in milliseconds (nearest rank); 0 when there is no sample."""
        rank = max(1, math.ceil(percent / 100 * self.total))
        for step in sorted(self.counts):
            rank -= self.counts[step]
            if rank <= 0:
                return min(_top_us(step) / 1000, self.largest_s * 1000)
        return 0.0

    @property
    def mean_ms(self) -> float:
        """The mean of all samples, to the precision of the steps; 0 when there is none."""
        total = self.total
        return sum(_top_us(step) * n for step, n in self.counts.items()) / total / 1000 if total else 0.0


def _step(sample_s: float) -> int:
    """Number the step of *sample_s*: exact below 128 microseconds, then 128 steps for each doubling."""
    us = max(1, int(sample_s * 1e6))
    octave = max(0, us.bit_length() - _STEPS_BITS - 1)
    return (octave << _STEPS_BITS) + (us >> octave)


def _top_us(step: int) -> int:
    """Return the greatest whole number of microseconds that is in *step*."""
    octave = max(0, (step >> _STEPS_BITS) - 1)
    return (((step - (octave << _STEPS_BITS)) + 1) << octave) - 1
