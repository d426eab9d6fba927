"""What a node holds that it must give back: descriptors, connections to the database, places for hashes; and its memory."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.support.lines import api_processes
from tests.support.measures import metrics_text
from tests.support.nodes import Node
from tests.support.tables import rows
from tests.support.waiting import settled, until

_BUSY: Final = ("tidegate_hash_running", "tidegate_hash_waiting", "tidegate_database_connections_in_use")
"""Gauges that are 0 while nobody asks for anything."""

_GAUGES: Final = (*_BUSY, "tidegate_database_connections_open", "tidegate_revocation_feed_up")

_BACKENDS: Final = """
SELECT application_name || CASE WHEN starts_with(state, 'idle in') THEN ', in a transaction' ELSE '' END AS name, count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND starts_with(application_name, 'tidegate')
    AND application_name <> 'tidegate existence' -- the keeper's comes and goes
GROUP BY 1
"""


@dataclass(frozen=True)
class Holdings:
    """At one moment.

    Attributes:
        descriptors: Of each process, by its id.
        backends: PostgreSQL's processes that serve the node, by what they call themselves.
        gauges: What the node says of itself; known to the second.
    """

    descriptors: Mapping[int, int]
    backends: Mapping[str, int]
    gauges: Mapping[str, float]


def processes(node: Node) -> list[int]:
    """The parent of *node*, then its children."""
    return [node.process.pid, *api_processes(node)]


def descriptors(pid: int) -> int:
    """How many the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def holdings(node: Node, *others: int) -> Holdings:
    """What *node* holds, and the processes *others* that belong to it."""
    samples = [sample for family in text_string_to_metric_families(metrics_text(node)) for sample in family.samples]
    backends = {row["name"]: row["count"] for row in rows(node.dsn, _BACKENDS)}
    return Holdings(
        # Last: just after our own question the parent may not have closed its connection yet.
        descriptors={pid: descriptors(pid) for pid in (*processes(node), *others)},
        backends=backends,
        gauges={name: sum(sample.value for sample in samples if sample.name == name) for name in _GAUGES},
    )


def at_rest(node: Node, *others: int) -> Holdings:
    """What *node* holds once it has nothing to do and nothing changes any more.

    Raises:
        AssertionError: It does not come to that.
    """
    found: list[Holdings] = []

    def is_at_rest() -> bool:
        found.append(settled(lambda: holdings(node, *others)))
        gauges = found[-1].gauges
        # A node that has just become ready may not have its feeds yet.
        is_whole = gauges["tidegate_revocation_feed_up"] == len(api_processes(node))
        return is_whole and not any(gauges[name] for name in _BUSY)

    until(is_at_rest, "it does not come to rest")
    return found[-1]


def must_be_given_back(node: Node, before: Holdings, *others: int) -> None:
    """Wait until *node* holds what it held *before*.

    Raises:
        AssertionError: Something is not given back; shows what.
    """
    with suppress(AssertionError):
        until(lambda: holdings(node, *others) == before, "told below")
    now = holdings(node, *others)
    assert now == before, f"{now} instead of {before}"


def memory_kib(pid: int) -> int:
    """The memory that the process has taken for itself (proc_pid_smaps(5), Anonymous), in KiB.

    Neither RSS nor PSS, for these move with the pages of libraries that the kernel drops or that others map too.
    """
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("Anonymous:")]
    return int(line.split()[1])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By how much the second of *points* grows when the first does by 1, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
