"""All that a run came to, and how it is told: one page for people, and every number for whoever wants to count again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

import msgspec
from bench.figures import Figure, quotient
from bench.histogram import Histogram
from bench.scenarios.scenario import Told
from bench.turns import Raw, Round, Window

_FIGURES: Final = ("figure", "asked for", "measured", "")
_WINDOWS: Final = (
    "scenario",
    "service",
    "connections",
    "call",
    "good/s",
    "p50, p99, max ms",
    "CPU us each: node, PostgreSQL, driver",
    "PSS MiB",
    "other answers",
)


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        commit: Of the code, with `-dirty` when files differ from it.
        command: That gives these figures again.
        machine: See `processes.machine`.
        settings: Those of Tidegate that were given.
        profile: The parameters of the hashes, as in their PHC string.
        engine: What computes them.
        services: Who took part.
        rounds: Of each scenario, in the order in which they were taken.
    """

    commit: str
    command: str
    machine: dict[str, str | int]
    settings: dict[str, str]
    profile: str
    engine: str
    services: list[str]
    rounds: dict[str, list[Round]]


def figures_of(results: Results, scenarios: Sequence[Told]) -> list[Figure]:
    """Return the figures of all *scenarios* that were run."""
    return [
        figure for each in scenarios if each.name in results.rounds for figure in each.figures(results.rounds[each.name])
    ]


def page(results: Results, scenarios: Sequence[Told]) -> str:
    """Return everything that a person wants to know, in Markdown."""
    machine = f"{results.machine['cores']} cores of {results.machine['cpu']}, Linux {results.machine['kernel']}"
    given = ", ".join(f"{name}={text}" for name, text in results.settings.items()) or "as they come"
    turns = [turn for rounds in results.rounds.values() for turns in rounds for turn in turns]
    elsewhere = [turn.elsewhere_cores for turn in turns if isinstance(turn, (Raw, Window))] or [0.0]
    return "\n".join(
        [
            f"Commit {results.commit}, {machine}, Python {results.machine['python']}; hashes are `{results.profile}`,",
            f"computed by {results.engine}. Settings: {given}.",
            "PostgreSQL, the driver and every service run on the same cores, one service at a time:",
            f"{', '.join(results.services)}.",
            "",
            f"    {results.command}",
            "",
            "Medians of the rounds, in brackets the lowest and the highest. Other programs on the machine took",
            f"{median(elsewhere):.2f} cores meanwhile, {max(elsewhere):.2f} at the most.",
            "",
            _row(*_FIGURES),
            _row(*("---" for _ in _FIGURES)),
            *(_figure(figure) for figure in figures_of(results, scenarios)),
            "",
            "What it came from, the median of all rounds:",
            "",
            _row(*_WINDOWS),
            _row(*("---" for _ in _WINDOWS)),
            *(
                row
                for each in scenarios
                for row in _windows(each.name, [each.told(turns) for turns in results.rounds.get(each.name, [])])
            ),
        ]
    )


def _figure(figure: Figure) -> str:
    return _row(figure.text, figure.bound, f"{figure.spread.rounded(figure.digits)} {figure.unit}".strip(), figure.verdict)


def _windows(scenario: str, rounds: Sequence[Round]) -> Iterator[str]:
    turns = [turn for round_ in rounds for turn in round_]
    raw = [turn for turn in turns if isinstance(turn, Raw)]
    if raw:
        rate, cost = median(turn.hashes_per_s for turn in raw), median(turn.cpu_ms_each for turn in raw)
        yield _row(scenario, "raw hashing", "", "", f"{rate:.1f}", "", f"{cost * 1000:.0f}", "", "")
    windows = [turn for turn in turns if isinstance(turn, Window)]
    for service, label in dict.fromkeys((window.service, window.label) for window in windows):
        same = [window for window in windows if (window.service, window.label) == (service, label)]
        for call in same[0].streams:
            yield _window(scenario, f"{service} {label}".strip(), call, same)


def _window(scenario: str, service: str, call: str, same: Sequence[Window]) -> str:
    latency = sum((window.streams[call].good for window in same), start=Histogram())
    others: Counter[str] = Counter()
    for window in same:
        others.update({s: n for s, n in window.streams[call].by_status.items() if s != str(window.good_status[call])})
        others["unanswered"] += window.streams[call].unanswered if window.asked_per_s else 0
    cost = ", ".join(
        f"{median(quotient(window.cpu_s[part] * 1e6, window.answers) for window in same):.0f}"
        for part in ("node", "postgres", "driver")
    )
    return _row(
        scenario,
        service,
        str(same[0].connections),
        call,
        f"{median(window.good_per_s(call) for window in same):.1f}",
        ", ".join(f"{latency.percentile_ms(percent):.1f}" for percent in (50, 99, 100)),
        cost,
        f"{median(window.pss_mib for window in same):.0f}",
        ", ".join(f"{status}: {n}" for status, n in sorted(others.items()) if n) or "none",
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
