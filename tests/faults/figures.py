"""What runs have shown, in figures: a table for docs/RELIABILITY.md, made of histories and of nothing else.

The matrix keeps the histories in the folder that KEEP_HISTORIES names, `python -m tests.faults.running --each --keep runs`
those of a shorter one; `python -m tests.faults.figures runs/*.json` prints the table, and with `--write` puts it into the
page.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.checkers import acked_present, effects_once
from tests.faults.history import BALANCER, Call, FaultSpan, History, Kind, Outcome, from_json

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "RELIABILITY.md"
BEGIN: Final = "<!-- Made by python -m tests.faults.figures; do not edit. -->"
END: Final = "<!-- End of what is made. -->"

_NOT_OF_CLIENTS: Final = frozenset({Kind.LOOK_UP, Kind.PROBE, Kind.DISABLE, Kind.ENABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one fault has done in the runs that had it.

    Attributes:
        acknowledged: Calls that overlapped the fault and were answered well.
        unknown: Those that got no whole answer, or 5xx.
        lost: What was acknowledged in the whole of those runs and is not there in the end; jobs without effect among it.
        duplicated: Effects or jobs that came twice, in the whole of those runs.
        longest_wait_s: Of a call to a node that the fault did not hit itself; None: it hit them all.
        recovered_s: From the last act of healing to the first good answer of the slowest node.
    """

    fault: str
    runs: int
    acknowledged: int
    unknown: int
    lost: int
    duplicated: int
    longest_wait_s: float | None
    recovered_s: float


def figures(histories: Sequence[History]) -> list[Figures]:
    """One for each fault. What a run with several faults has lost is told of each of them."""
    by_fault: dict[str, list[tuple[History, FaultSpan]]] = {}
    for history in histories:
        for span in history.faults:
            name = f"{span.name}, behind the balancer" if BALANCER in history.nodes else span.name
            by_fault.setdefault(name, []).append((history, span))
    return [_of(name, found) for name, found in sorted(by_fault.items())]


def _of(name: str, found: Sequence[tuple[History, FaultSpan]]) -> Figures:
    histories = {id(history): history for history, _ in found}.values()
    asked = [
        call
        for history, span in found
        for call in history.calls
        if call.kind not in _NOT_OF_CLIENTS and _overlap(call, span)
    ]
    effects = [violation.what for history in histories for violation in effects_once(history)]
    duplicated = sum("twice" in what for what in effects)
    return Figures(
        fault=name,
        runs=len(found),
        acknowledged=sum(call.outcome is Outcome.OK for call in asked),
        unknown=sum(call.outcome is Outcome.UNKNOWN for call in asked),
        lost=sum(len(acked_present(history)) for history in histories) + len(effects) - duplicated,
        duplicated=duplicated,
        longest_wait_s=max(
            (wait for history, span in found if (wait := _longest_wait_s(history, span)) is not None), default=None
        ),
        recovered_s=max(_recovered_s(history, span) for history, span in found),
    )


def _longest_wait_s(history: History, span: FaultSpan) -> float | None:
    return max(
        (
            call.ended_s - call.began_s
            for call in history.calls
            if call.kind not in _NOT_OF_CLIENTS and call.node not in span.targets and _overlap(call, span)
        ),
        default=None,
    )


def _overlap(call: Call, span: FaultSpan) -> bool:
    return call.began_s < span.ended_s and span.began_s < call.ended_s


def _recovered_s(history: History, span: FaultSpan) -> float:
    """Until each node has answered well a login or a refresh that was asked for after the fault: both need the primary."""
    waits = []
    for node in history.nodes:
        good = [
            call.ended_s - span.ended_s
            for call in history.calls
            if call.node == node
            and call.kind in {Kind.LOGIN, Kind.REFRESH}
            and call.outcome is Outcome.OK
            and call.began_s >= span.ended_s
        ]
        waits.append(min(good, default=float("inf")))
    return max(waits, default=float("inf"))


def table(found: Sequence[Figures]) -> str:
    """*found* as Markdown."""
    lines = [
        "| fault | runs | acknowledged | unknown | lost | duplicated | longest wait, s | recovered after, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.fault} | {each.runs} | {each.acknowledged} | {each.unknown} | {each.lost} | {each.duplicated} "
        f"| {'all were hit' if each.longest_wait_s is None else f'{each.longest_wait_s:.2f}'} | {each.recovered_s:.2f} |"
        for each in found
    ]
    return "\n".join(lines)


def written(page: str, text: str) -> str:
    """*page* with *text* in the place of what was made before.

    Raises:
        ValueError: The page has no such place.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page does not say where the table belongs")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> int:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.figures", description="Figures of runs.")
    parser.add_argument("histories", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    words = parser.parse_args()
    made = table(figures([from_json(path.read_text("utf-8")) for path in words.histories]))
    if words.write:
        PAGE.write_text(written(PAGE.read_text("utf-8"), made), "utf-8")
    else:
        print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
