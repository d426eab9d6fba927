"""What a balancer costs, and what two nodes cost instead of one on the same cores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.dialect import TIDEGATE
from bench.field import Field
from bench.figures import Figure
from bench.ground import Service
from bench.many.installation import started
from bench.many.question import Asked, costs, rate_by, rates, round_of
from bench.processes import Tree, cores
from bench.turns import Round

DIRECT: Final = "1 node without HAProxy"
ONE: Final = "HAProxy and 1 node"
TWO: Final = "HAProxy and 2 nodes"

_SERVICES: Final = (DIRECT, ONE, TWO)
_CALLS: Final[Mapping[str, str]] = {"login": "logins", "me": "GET /me"}


class Balancing:
    """The same API processes, alone or together, with and without a balancer before them.

    One node has a process for each core, each of two nodes has half of them (at least one): so what differs is the
    balancer, and that there are two nodes.
    """

    name = "balancer"
    title = "Logins and /me with and without a balancer"

    @contextmanager
    def asking(self, folder: Path, asked: Asked) -> Iterator[Callable[[int], Round]]:
        """See `Question`."""
        with started(folder, users=asked.users) as installation:
            alone = installation.node("alone", processes=cores())
            two = [installation.node(name, processes=max(1, cores() // 2)) for name in ("first", "second")]
            before_one = installation.balancer("haproxy-1", [alone])
            before_two = installation.balancer("haproxy-2", two)
            background = {"background": installation.background}
            one_tree, two_tree = Tree(alone.pid), Tree(two[0].pid, also=(two[1].pid,))
            services = {
                DIRECT: Service(name=DIRECT, port=alone.port, tree=one_tree, dialect=TIDEGATE, beside=background),
                ONE: Service(
                    name=ONE,
                    port=before_one.port,
                    tree=one_tree,
                    dialect=TIDEGATE,
                    beside=background | {"haproxy": Tree(before_one.pid)},
                ),
                TWO: Service(
                    name=TWO,
                    port=before_two.port,
                    tree=two_tree,
                    dialect=TIDEGATE,
                    beside=background | {"haproxy": Tree(before_two.pid)},
                ),
            }
            field = Field(installation.ground, services, seconds=asked.seconds, tell=asked.tell)
            yield lambda number: round_of(field, _SERVICES, list(_CALLS), number)

    def told(self, turns: Round) -> Round:
        """See `Told`: all."""
        return turns

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        return [figure for call, title in _CALLS.items() for figure in _figures(call, title, rounds)]


def _figures(call: str, title: str, rounds: Sequence[Round]) -> Iterator[Figure]:
    yield from rates(title, call, _SERVICES, rounds)
    yield rate_by(title, call, ONE, DIRECT, rounds)
    yield rate_by(title, call, TWO, ONE, rounds)
    for service in _SERVICES:
        yield costs(title, call, service, "node", rounds)
    for service in (ONE, TWO):
        yield costs(title, call, service, "haproxy", rounds)
