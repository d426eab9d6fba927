"""One call as often as it can be had, ours and the peers' in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.field import Field, Load
from bench.figures import Figure, quotient, spread
from bench.node import OURS
from bench.scenarios.scenario import by_peer, in_turn, windows_of
from bench.turns import Round


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A closed loop.

    Attributes:
        name: See `Scenario`.
        title: See `Scenario`.
        call: Of the dialect.
        bounds: What our rate divided by that of a peer should reach, by peer; None where nothing is asked for.
        connections: How many.
    """

    name: str
    title: str
    call: str
    bounds: Mapping[str, float | None]
    connections: int = 64

    @property
    def peers(self) -> Sequence[str]:
        """See `Scenario`."""
        return list(self.bounds)

    def round(self, field: Field, number: int) -> Round:
        """Each in turn."""
        services = [OURS, *(peer for peer in self.peers if field.has(peer))]
        return [field.drive(service, [Load(self.call, self.connections)]) for service in in_turn(services, number)]

    def told(self, turns: Round) -> Round:
        """See `Scenario`: all."""
        return turns

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Scenario`."""
        ours = [window for turns in rounds for window in windows_of(turns, OURS)]
        rates = spread([window.good_per_s(self.call) for window in ours])
        costs = [quotient(window.cpu_s["node"] * 1e6, window.answers) for window in ours]
        return [
            Figure(text=self.title, unit="a second", spread=rates, digits=0),
            Figure(text=f"{self.title}: CPU of the node", unit="us each", spread=spread(costs), digits=0),
            *by_peer(self.title, self.call, self.bounds, rounds),
        ]
