"""What a run came to: every raw number, and the few that a reader wants."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec
from bench.driver import Measured
from bench.figures import Spread, ratio_to_neighbours, spread

GOAL: Final = 0.80
"""Of raw hashing, with PostgreSQL and the clients on the same cores."""


_COLUMNS: Final = (
    "connections",
    "logins/s",
    "of raw hashing",
    "hashing's share of CPU time",
    "p50, p95, p99 ms",
    "CPU ms each",
    "other answers",
)


class Raw(msgspec.Struct, frozen=True, tag="raw", tag_field="turn"):
    """A turn in which the cores did nothing but hash.

    Attributes:
        hashes_per_s: On all cores together.
        cpu_ms_each: What one hash cost, in milliseconds of one core.
        elsewhere_cores: How many cores other programs, and other machines on the same host, kept busy meanwhile.
    """

    hashes_per_s: float
    cpu_ms_each: float
    elsewhere_cores: float


class Logins(msgspec.Struct, frozen=True, tag="logins", tag_field="turn"):
    """A turn of logins.

    Attributes:
        connections: How many clients at once.
        measured: What the driver saw.
        cpu_s: What the servers used meanwhile, by program; empty when nothing is known of their processes.
        elsewhere_cores: As in `Raw`; None when nothing is known of the servers' processes.
    """

    connections: int
    measured: Measured
    cpu_s: dict[str, float]
    elsewhere_cores: float | None

    @property
    def per_s(self) -> float:
        """Answers with status 200 in a second."""
        return self.measured.by_status.get("200", 0) / self.measured.seconds

    @property
    def cpu_ms_each(self) -> dict[str, float]:
        """What one login cost, by program, in milliseconds of one core."""
        used = self.cpu_s | {"driver": self.measured.driver_cpu_s}
        return {name: s * 1000 / max(1, self.measured.by_status.get("200", 0)) for name, s in used.items()}


class Round(msgspec.Struct, frozen=True):
    """One round: raw, logins, raw, logins, raw ...; it begins and ends with raw."""

    turns: list[Raw | Logins]

    def ratios(self) -> dict[int, float]:
        """Return, by connections, the logins by the hashes just before and after them."""
        return {
            turn.connections: ratio_to_neighbours(turn.per_s, before.hashes_per_s, after.hashes_per_s)
            for before, turn, after in self._between()
        }

    def hash_shares(self) -> dict[int, float]:
        """Return, by connections, the part of all CPU time of the logins that bare hashing would have needed.

        It is what the quotient would be on a machine that nobody else uses and whose cores never wait. Other programs take
        time from a turn but add none to it, so it says more than the quotient where there are such programs.
        """
        return {
            turn.connections: (before.cpu_ms_each + after.cpu_ms_each) / 2 / sum(turn.cpu_ms_each.values())
            for before, turn, after in self._between()
            if turn.cpu_s
        }

    def _between(self) -> Iterator[tuple[Raw, Logins, Raw]]:
        """Yield each turn of logins between its neighbours."""
        for (before, turn), (_, after) in pairwise(pairwise(self.turns)):
            if isinstance(before, Raw) and isinstance(turn, Logins) and isinstance(after, Raw):
                yield before, turn, after

    def told(self) -> str:
        """Return it in one line."""
        ratios = self.ratios()
        return ", ".join(
            f"raw {turn.hashes_per_s:.1f}/s"
            if isinstance(turn, Raw)
            else f"{turn.connections} connections {turn.per_s:.1f}/s ({ratios[turn.connections]:.3f})"
            for turn in self.turns
        )


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds, and what a reader must know to compare them with others.

    Attributes:
        commit: Of the code, with `-dirty` when files differ from it.
        command: That gives these figures again.
        machine: See `processes.machine`.
        profile: The parameters of the hashes, as in their PHC string.
        rounds: In the order in which they were run.
    """

    commit: str
    command: str
    machine: dict[str, str | int]
    profile: str
    rounds: list[Round]

    def ratios(self) -> dict[int, Spread]:
        """Return the quotient by connections, over all rounds."""
        every = [each.ratios() for each in self.rounds]
        return {connections: spread([ratios[connections] for ratios in every]) for connections in every[0]}

    def page(self) -> str:
        """Return the figures in Markdown."""
        turns = [turn for each in self.rounds for turn in each.turns]
        hashes = spread([turn.hashes_per_s for turn in turns if isinstance(turn, Raw)])
        elsewhere = spread([turn.elsewhere_cores for turn in turns if turn.elsewhere_cores is not None])
        machine = f"{self.machine['cores']} cores of {self.machine['cpu']}, Linux {self.machine['kernel']}"
        rows = [self._logins(connections, ratio) for connections, ratio in self.ratios().items()]
        return "\n".join(
            [
                f"Commit {self.commit}, {machine}, Python {self.machine['python']}; hashes are `{self.profile}`.",
                "PostgreSQL and the driver run on the same cores.",
                "",
                f"    {self.command}",
                "",
                f"Raw hashing makes {hashes.rounded(1)} hashes/s; the goal is {GOAL:.2f} of it.",
                f"Medians of {len(self.rounds)} rounds, in brackets the lowest and the highest.",
                f"Other programs on the machine took {elsewhere.rounded(2)} cores meanwhile.",
                "",
                _row(*_COLUMNS),
                _row(*("---" for _ in _COLUMNS)),
                *rows,
            ]
        )

    def _logins(self, connections: int, ratio: Spread) -> str:
        turns = [turn for each in self.rounds for turn in each.turns if isinstance(turn, Logins)]
        turns = [turn for turn in turns if turn.connections == connections]
        per_s = spread([turn.per_s for turn in turns])
        latencies = [turn.measured.latency_ms for turn in turns if turn.measured.latency_ms]
        latency = ", ".join(f"{median(each[p] for each in latencies):.0f}" for p in ("p50", "p95", "p99") if latencies)
        costs = [turn.cpu_ms_each for turn in turns]
        cost = ", ".join(f"{name} {median(each[name] for each in costs):.2f}" for name in costs[0])
        others: Counter[str] = Counter()
        for turn in turns:
            others.update({status: n for status, n in turn.measured.by_status.items() if status != "200"})
        other = ", ".join(f"{status}: {n}" for status, n in sorted(others.items())) or "none"
        shares = [each.hash_shares()[connections] for each in self.rounds if connections in each.hash_shares()]
        share = spread(shares).rounded(3) if shares else ""
        reached = "" if ratio.median >= GOAL else ", goal missed"
        return _row(str(connections), per_s.rounded(1), ratio.rounded(3) + reached, share, latency, cost, other)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
