"""What replicas take off the primary."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.dialect import TIDEGATE
from bench.field import Field
from bench.figures import Figure, quotient, spread
from bench.ground import Service
from bench.many.installation import Installation, started
from bench.many.question import Asked, asked_for, costs, rates, round_of
from bench.processes import Tree, cores
from bench.turns import Round

REPLICAS_MAX: Final = 2
SERVICES: Final = tuple(f"{count} replica{'' if count == 1 else 's'}" for count in range(REPLICAS_MAX + 1))
_CALLS: Final[Mapping[str, str]] = {"login": "logins", "unknown": "logins of nobody"}


class Reading:
    """One node that looks its users up on the primary alone, on one replica, on two.

    The look-up of a login goes to a replica, and its session to the primary. Whom the existence filter does not know is
    looked up on the primary at once, so logins of nobody are there to show that replicas take nothing from those and add
    nothing. All replicas follow all the time: sending them what is written is a cost of the primary in every variant.
    """

    name = "replicas"
    title = "Logins with 0, 1 and 2 replicas"

    @contextmanager
    def asking(self, folder: Path, asked: Asked) -> Iterator[Callable[[int], Round]]:
        """See `Question`."""
        with started(folder, users=asked.users, replicas=REPLICAS_MAX) as installation:
            services = {name: _service(installation, name, count) for count, name in enumerate(SERVICES)}
            field = Field(installation.ground, services, seconds=asked.seconds, tell=asked.tell)
            yield lambda number: round_of(field, SERVICES, list(_CALLS), number)

    def told(self, turns: Round) -> Round:
        """See `Told`: all."""
        return turns

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        return [figure for call, title in _CALLS.items() for figure in _figures(call, title, rounds)]


def _service(installation: Installation, name: str, replicas: int) -> Service:
    node = installation.node(f"node-{replicas}", processes=cores(), replicas=replicas)
    beside = {"background": installation.background}
    if installation.replicas is not None:
        beside["replicas"] = installation.replicas
    return Service(name=name, port=node.port, tree=Tree(node.pid), dialect=TIDEGATE, beside=beside)


def _figures(call: str, title: str, rounds: Sequence[Round]) -> Iterator[Figure]:
    yield from rates(title, call, SERVICES, rounds)
    for service in SERVICES:
        yield costs(title, call, service, "postgres", rounds)
        yield costs(title, call, service, "replicas", rounds)
    for service in SERVICES[1:]:
        pairs = zip(asked_for(call, service, rounds), asked_for(call, SERVICES[0], rounds), strict=True)
        found = [
            quotient(
                quotient(with_replicas.cpu_s["postgres"], with_replicas.answers),
                quotient(without.cpu_s["postgres"], without.answers),
            )
            for with_replicas, without in pairs
        ]
        yield Figure(text=f"{title}: CPU of the primary, {service} ÷ none", spread=spread(found), digits=3)
