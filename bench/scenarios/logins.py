"""Logins in a second, by what the cores could hash if a login cost nothing else, and by what the peers do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import mean
from typing import Final

from bench.field import Field, Load
from bench.figures import Figure, quotient, ratio_to_neighbours, spread
from bench.node import OURS
from bench.scenarios.scenario import by_peer, in_turn
from bench.turns import Raw, Round, Window

OF_RAW_MIN: Final = 0.92
BESIDE_MS_MAX: Final = 0.30
PSS_MIB_MAX: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """One number of connections.

    Attributes:
        connections: That number.
        bounds: What our rate divided by that of a peer should reach, by peer; None where nothing is asked for.
        has_memory: Whether the node's memory is a figure of this scenario.
    """

    connections: int
    bounds: Mapping[str, float | None] = field(default_factory=dict)
    has_memory: bool = False

    @property
    def name(self) -> str:
        """See `Scenario`."""
        return f"login-{self.connections}"

    @property
    def title(self) -> str:
        """See `Scenario`."""
        return f"Logins over {self.connections} connections"

    @property
    def peers(self) -> Sequence[str]:
        """See `Scenario`."""
        return list(self.bounds)

    def round(self, field: Field, number: int) -> Round:
        """Ours between two turns of raw hashing, then the peers, or first the peers."""
        ours: Round = [field.raw(), field.drive(OURS, [Load("login", self.connections)]), field.raw()]
        theirs: Round = [
            field.drive(peer, [Load("login", self.connections)]) for peer in in_turn(self.peers, number) if field.has(peer)
        ]
        return ours + theirs

    def told(self, turns: Round) -> Round:
        """See `Scenario`: all."""
        return turns

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Scenario`."""
        between = [found for turns in rounds for found in _between_raw(turns)]
        ratios = [
            ratio_to_neighbours(ours.good_per_s("login"), before.hashes_per_s, after.hashes_per_s)
            for before, ours, after in between
        ]
        figures = [
            Figure(
                text=f"logins/s ÷ raw hashes/s, {self.connections} connections",
                spread=spread(ratios),
                at_least=OF_RAW_MIN,
                digits=3,
            ),
            *self._cost(between),
            *by_peer(f"logins/s over {self.connections} connections", "login", self.bounds, rounds),
        ]
        if self.has_memory:
            figures.append(
                Figure(
                    text=f"memory of the node at {self.connections} connections (PSS)",
                    unit="MiB",
                    spread=spread([ours.pss_mib for _, ours, _ in between]),
                    at_most=PSS_MIB_MAX,
                    digits=0,
                )
            )
        return figures

    def _cost(self, between: Sequence[tuple[Raw, Window, Raw]]) -> list[Figure]:
        """What a login costs the node beside its hash, told apart in two ways.

        By the threads: all but those that hash. By subtraction: less what the same hash costs when nothing competes with it
        for memory and caches; that is the greater, and a difference of two large numbers.
        """
        threads = [_ms_a_login(ours, ours.cpu_s["node"] - ours.cpu_s["hashing"]) for _, ours, _ in between]
        less = [
            _ms_a_login(ours, ours.cpu_s["node"]) - mean([before.cpu_ms_each, after.cpu_ms_each])
            for before, ours, after in between
        ]
        at = f"per login, {self.connections} connections"
        shares = [
            quotient(mean([before.cpu_ms_each, after.cpu_ms_each]) * 1000, ours.cpu_us_each)
            for before, ours, after in between
        ]
        return [
            Figure(text=f"a bare hash's share of all CPU time {at}", spread=spread(shares), digits=3),
            Figure(
                text=f"CPU of the node beside the hash threads {at}",
                unit="ms",
                spread=spread(threads),
                at_most=BESIDE_MS_MAX,
            ),
            Figure(text=f"CPU of the node less that of a bare hash {at}", unit="ms", spread=spread(less)),
        ]


def _between_raw(turns: Round) -> Iterator[tuple[Raw, Window, Raw]]:
    """Yield each window that stands between two turns of raw hashing, with these."""
    for (before, turn), (_, after) in pairwise(pairwise(turns)):
        if isinstance(before, Raw) and isinstance(turn, Window) and isinstance(after, Raw):
            yield before, turn, after


def _ms_a_login(window: Window, spent_s: float) -> float:
    return quotient(spent_s * 1000, window.good("login"))
