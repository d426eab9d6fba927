"""Draws a storm: who had come by when, who had a coupon by then, and how many were left."""

from pathlib import Path
from typing import Final

from bench.results import Results
from bench.turns import Granted
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INCHES: Final = (8.0, 5.5)
_DPI: Final = 120
_RATE_OVER_S: Final = 1.0
"""Coupons come some hundred at a time: a rate over less shows that and hides the rest."""


def draw(results: Results, path: Path) -> list[Path]:
    """Write the plot to *path* if there was a storm; what was written."""
    turns = [turn for turns in results.rounds.get("storm", []) for turn in turns if isinstance(turn, Granted)]
    if not turns:
        return []
    figure = Figure(figsize=_INCHES, layout="constrained")
    counts, rates = figure.subplots(2, sharex=True, height_ratios=[2, 1])
    _counts(counts, turns[0])
    _rates(rates, turns[0])
    figure.savefig(path, dpi=_DPI)
    return [path]


def _counts(axes: Axes, storm: Granted) -> None:
    times = _times(storm)
    axes.plot(times, [storm.eligible] * len(times), color="C7", linestyle=":", label="registrations")
    axes.plot(times, storm.first_logins, color="C0", label="first logins")
    axes.plot(times, storm.grants, color="C1", label="coupons granted")
    axes.plot(times, [storm.cap - granted for granted in storm.grants], color="C2", label="seats left")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="center right")


def _rates(axes: Axes, storm: Granted) -> None:
    for counts, colour, label in ((storm.first_logins, "C0", "first logins"), (storm.grants, "C1", "coupons")):
        axes.plot(_times(storm), rates_of(counts, step_s=storm.step_s), color=colour, label=label)
    axes.set_xlabel("seconds since the first login")
    axes.set_ylabel("a second")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="center right")


def _times(storm: Granted) -> list[float]:
    return [step * storm.step_s for step in range(len(storm.grants))]


def rates_of(counts: list[int], *, step_s: float) -> list[float]:
    """How many a second came at each of *counts*, over `_RATE_OVER_S` before it, or as long as there is."""
    steps = max(1, round(_RATE_OVER_S / step_s))
    rates = []
    for place, count in enumerate(counts):
        before = max(0, place - steps)
        rates.append((count - counts[before]) / ((place - before) * step_s) if place else 0.0)
    return rates
