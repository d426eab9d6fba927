"""Draws what a run came to: rates beside each other, and latencies that a table would flatten."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.histogram import Histogram
from bench.node import OURS
from bench.results import Results
from bench.scenarios.storm import STORM
from bench.turns import Round, Window
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INCHES = (8.0, 4.5)
_DPI = 120
_PERCENTILES = [*range(1, 99), *(99 + n / 100 for n in range(100))]


def draw(results: Results, beside: Path) -> list[Path]:
    """Write the plots for which there are numbers; their names begin as *beside* does."""
    drawn = []
    for name, plot in (("rates", _rates), ("mixed", _mixed), ("storm", _storm)):
        figure = Figure(figsize=_INCHES, layout="constrained")
        if plot(figure, results):
            path = beside.with_name(f"{beside.name}-{name}.png")
            figure.savefig(path, dpi=_DPI)
            drawn.append(path)
    return drawn


def _rates(figure: Figure, results: Results) -> bool:
    """One panel a scenario, one bar a service, for the scenarios whose services were compared."""
    shown = {name: found for name, rounds in results.rounds.items() if len(found := _rates_of(rounds)) > 1}
    if not shown:
        return False
    figure.set_size_inches(_INCHES[0], 0.9 + 0.5 * sum(len(found) for found in shown.values()))
    panels = figure.subplots(len(shown), squeeze=False, height_ratios=[len(found) for found in shown.values()])
    for (axes,), (scenario, found) in zip(panels, shown.items(), strict=True):
        bars = axes.barh(list(found), list(found.values()), color=["C1" if name == OURS else "C0" for name in found])
        axes.bar_label(bars, fmt="%.0f", padding=3)
        axes.set_title(f"{scenario}: good answers a second", fontsize="medium", loc="left")
        axes.margins(x=0.12)
        axes.invert_yaxis()
    return True


def _rates_of(rounds: list[Round]) -> dict[str, float]:
    """The median rate by service, of closed loops with one stream."""
    windows = [window for window in _windows(rounds) if window.asked_per_s is None and not window.label]
    return {
        service: median(
            window.good_per_s(call) for window in windows if window.service == service for call in window.streams
        )
        for service in dict.fromkeys(window.service for window in windows)
    }


def _mixed(figure: Figure, results: Results) -> bool:
    """The p99 of /me by the rate that was asked for."""
    windows = [window for window in _windows(results.rounds.get("mixed", [])) if window.asked_per_s]
    axes: Axes = figure.subplots()
    for service in dict.fromkeys(window.service for window in windows):
        points = sorted(
            (window.asked_per_s or 0.0, window.streams["me"].good.percentile_ms(99))
            for window in windows
            if window.service == service
        )
        axes.plot([rate for rate, _ in points], [p99 for _, p99 in points], marker="o", label=service)
    _label(axes, "requests due a second, all calls together", "p99 of /me, ms", log_x=True)
    return bool(windows)


def _storm(figure: Figure, results: Results) -> bool:
    """How long who waited in the storm."""
    storms = [window for window in _windows(results.rounds.get("storm", [])) if window.label == STORM]
    if not storms:
        return False
    curves: dict[str, Histogram] = {
        "login, served": _sum(window.streams["login"].good for window in storms),
        "login, refused": _sum(window.streams["login"].refused for window in storms),
        "/me": _sum(window.streams["me"].good for window in storms),
        "/refresh": _sum(window.streams["refresh"].good for window in storms),
    }
    axes: Axes = figure.subplots()
    for label, histogram in curves.items():
        if histogram.total:
            axes.plot(_PERCENTILES, [histogram.percentile_ms(each) for each in _PERCENTILES], label=label)
    _label(axes, "percent of requests answered within", "ms", log_x=False)
    return True


def _label(axes: Axes, x: str, y: str, *, log_x: bool) -> None:
    if log_x:
        axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, which="both", alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _windows(rounds: list[Round]) -> Iterator[Window]:
    yield from (turn for turns in rounds for turn in turns if isinstance(turn, Window))


def _sum(histograms: Iterator[Histogram]) -> Histogram:
    return sum(histograms, start=Histogram())
