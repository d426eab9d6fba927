"""Shows a calibration and a plan to people."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from tidegate.calibration.capacity import Plan
from tidegate.calibration.figures import CPU_SHARE_MIN, Calibration, Hashing, ProfileFigures

_MIB: Final = 1 << 20


def calibration_page(calibration: Calibration) -> str:
    """Everything that was measured, and what to set."""
    machine = calibration.machine
    return "\n".join(
        [
            f"{machine.cores} cores of {machine.cpu}, {machine.memory_bytes // _MIB:,} MiB, {machine.system}",
            f"engine: {calibration.engine}; {calibration.rounds} rounds, {calibration.seconds:g} s",
            "",
            *_table(
                ("profile", "MiB", "passes", "lanes", "hashes/s", "a core", "ms", "p95", "CPU ms", "MiB held", ""),
                [row for profile in calibration.profiles for row in _rows(profile)],
            ),
            "",
            *_legend(calibration),
            *(f"Left out: {name}: {reason}." for name, reason in calibration.left_out.items()),
            "",
            *_recommended(calibration),
            "",
        ]
    )


def _rows(profile: ProfileFigures) -> Iterator[tuple[str, ...]]:
    ways = [(profile.one_at_a_time, f"{profile.one_at_a_time.threads} threads")]
    if profile.one_thread != profile.one_at_a_time:
        ways.insert(0, (profile.one_thread, "1 thread"))
    if profile.two_in_turn is not None:
        ways.append((profile.two_in_turn, f"{profile.two_in_turn.threads} threads, two in turn"))
    head = (profile.name, f"{profile.memory_cost_kib / 1024:g}", str(profile.time_cost), str(profile.parallelism))
    for hashing, way in ways:
        yield (*head, *_cells(hashing), way)
        head = ("", "", "", "")


def _cells(hashing: Hashing) -> tuple[str, ...]:
    return (
        f"{hashing.hashes_per_s:.1f}",
        f"{hashing.hashes_per_s_per_core:.1f}",
        f"{hashing.latency_ms_median:.1f}",
        f"{hashing.latency_ms_p95:.1f}",
        f"{hashing.cpu_ms_each:.1f}",
        f"{hashing.memory_bytes / _MIB:.0f}",
    )


def _legend(calibration: Calibration) -> Iterator[str]:
    yield "hashes/s: of all threads. ms, p95: of one hash, median and 95th percentile; two in turn end together."
    yield "A node takes the last way of each profile when more wait than it has threads, else the one before."
    accepted_by: dict[str, list[str]] = {}
    for profile in calibration.profiles:
        accepted_by.setdefault(profile.accepted_by, []).append(profile.name)
    yield from (f"Accepted by {who}: {', '.join(names)}." for who, names in accepted_by.items())
    if calibration.cpu_share < CPU_SHARE_MIN:
        yield f"Other programs were at work: hashing got {calibration.cpu_share:.0%} of the CPU time. Compare the profiles"
        yield "by CPU ms, and measure again on an idle machine before you rely on the rest."


def _recommended(calibration: Calibration) -> Iterator[str]:
    advice = calibration.recommendation
    yield f"For {advice.wished_latency_ms:g} ms a hash, with every core busy:"
    yield from (f"  {name}={text}" for name, text in advice.settings.items())
    yield f"  {advice.reason}."


def plan_page(plan: Plan) -> str:
    """What the storm needs, what becomes of it with less, and what that rests on."""
    facts = [
        ("logins", f"{plan.logins_per_s:,.0f}/s", f"{plan.users:,} in {plan.within_s:g} s"),
        ("cores", f"{plan.cores:,}", f"{plan.hashes_per_s_per_core:.1f} hashes/s each, profile {plan.profile}"),
        ("nodes", f"{plan.nodes:,}", f"of {plan.cores_per_node} cores; {plan.nodes_with_spare:,} if one may fail"),
        ("processes", f"{plan.processes_per_node}", "a node: TIDEGATE_API_PROCESSES"),
        (
            "memory",
            f"{plan.memory_bytes_per_node // _MIB:,} MiB",
            f"a node, {plan.hash_memory_bytes_per_node // _MIB:,} of it for hashing; {plan.memory_bytes // _MIB:,} in all",
        ),
        (
            "connections",
            f"{plan.connections_per_node:,}",
            f"a node; max_connections of the primary at least {plan.max_connections:,}",
        ),
        ("primary", f"{plan.primary_cores:,}", "cores for PostgreSQL, beside these"),
    ]
    return "\n".join(
        [
            *_table(("", "", ""), facts, left={0, 2})[1:],
            "",
            *_table(
                ("nodes", "logins/s", "refused at first", "all in after"),
                [
                    (
                        f"{each.nodes:,}",
                        f"{each.logins_per_s:,.0f}",
                        f"{each.refused_share:.1%}",
                        f"{each.all_in_after_s:,.0f} s",
                    )
                    for each in plan.undersized
                ],
                left=set(),
            ),
            "",
            "This takes for granted:",
            *(line for each in plan.assumptions for line in _wrapped(f"{each.text} ({each.source})")),
            "",
        ]
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: set[int] | None = None) -> list[str]:
    """Lines of a table; the first and the last column begin on the left, the others end on the right."""
    flush_left = {0, len(head) - 1} if left is None else left
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number in flush_left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
