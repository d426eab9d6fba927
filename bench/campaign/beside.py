"""What a campaign costs those who log in: the same node, asked in turn by users of a campaign and by users of none."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.campaign.crowds import ENTRANT, PLAIN, dialect_of, enter_campaign, environment, fill
from bench.field import Field, Load
from bench.figures import Figure, quotient, spread
from bench.ground import Ground, Service
from bench.many.installation import Installation, started
from bench.many.question import CONNECTIONS, Asked
from bench.processes import Tree, cores
from bench.scenarios.scenario import in_turn, windows_of
from bench.turns import Round, Window

CROWD_MAX: Final = 20_000
SOLD_OUT_MIN: Final = 0.98
PAIRS_A_ROUND: Final = 2

OPEN_PER_S: Final = 400
"""About a fifth of what two cores do: so little that an answer waits for its own work and not for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """Windows of users of none and of one, in turn: A B A B, in every other round backwards."""

    name: str
    title: str
    load: Load
    rounds_max: int

    @contextmanager
    def asking(self, folder: Path, asked: Asked) -> Iterator[Callable[[int], Round]]:
        """See `Question`."""
        users = min(asked.users, CROWD_MAX)
        with started(folder, users=users, fill=fill, environment=environment()) as installation:
            services = _services(installation)
            field = Field(installation.ground, services, seconds=asked.seconds, tell=asked.tell)
            self.prepare_run(installation.ground)

            def take(number: int) -> Round:
                turns: Round = []
                for crowd in in_turn([PLAIN, ENTRANT] * PAIRS_A_ROUND, number):
                    self.prepare_window(installation.ground)  # of both, for it leaves a checkpoint behind
                    turns.append(field.drive(crowd, [self.load], label=self.name))
                return turns

            yield take

    def prepare_run(self, ground: Ground) -> None:
        """Before the first window."""

    def prepare_window(self, ground: Ground) -> None:
        """Before each window."""

    def told(self, turns: Round) -> Round:
        """See `Told`: all."""
        return turns

    def pairs(self, rounds: Sequence[Round]) -> list[tuple[Window, Window]]:
        """Neighbours in time: of no campaign, and of one."""
        return [
            pair
            for turns in rounds
            for pair in zip(windows_of(turns, PLAIN, self.name), windows_of(turns, ENTRANT, self.name), strict=True)
        ]


class SoldOut(_Beside):
    """Users of a campaign whose last coupon is gone, and who have never logged in, by as many users of none."""

    def prepare_run(self, ground: Ground) -> None:
        """Sell it out."""
        asyncio.run(enter_campaign(ground.dsn, cap=1, state="exhausted", issued=1))

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        pairs = self.pairs(rounds)
        rates = [quotient(sold_out.good_per_s("login"), plain.good_per_s("login")) for plain, sold_out in pairs]
        costs = [quotient(cpu_us(plain), cpu_us(sold_out)) for plain, sold_out in pairs]
        return [
            Figure(text="logins/s, sold out ÷ no campaign", spread=spread(rates), at_least=SOLD_OUT_MIN, digits=3),
            Figure(text="logins a CPU second of all parts, sold out ÷ no campaign", spread=spread(costs), digits=3),
        ]


class Open(_Beside):
    """First logins on an open campaign, which get their coupons meanwhile, by as many logins of users of none."""

    def prepare_window(self, ground: Ground) -> None:
        """A campaign of its own for each window: so that all logins of its users are first ones."""
        asyncio.run(enter_campaign(ground.dsn, cap=ground.users))

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Told`."""
        pairs = self.pairs(rounds)
        return [
            figure
            for percent in (50, 99)
            for none, one in [
                zip(
                    *((_latency_ms(plain, percent), _latency_ms(entrant, percent)) for plain, entrant in pairs), strict=True
                )
            ]
            for figure in (
                Figure(text=f"login latency p{percent}, no campaign", unit="ms", spread=spread(none)),
                Figure(text=f"login latency p{percent}, open campaign", unit="ms", spread=spread(one)),
                Figure(
                    text=f"login latency p{percent}, open campaign ÷ none",
                    spread=spread([quotient(ms, other_ms) for ms, other_ms in zip(one, none, strict=True)]),
                ),
            )
        ]


SOLD_OUT: Final = SoldOut(
    name="sold-out", title="Logins on a campaign that is sold out", load=Load("login", CONNECTIONS), rounds_max=100
)
OPEN: Final = Open(
    name="open",
    title="Login latency beside an open campaign",
    load=Load("login", CONNECTIONS, rate_per_s=OPEN_PER_S),
    rounds_max=2,
)


def cpu_us(window: Window) -> float:
    """What a login cost all parts together, the driver and the worker too, in microseconds of CPU time."""
    spent_s = sum(spent for part, spent in window.cpu_s.items() if part != "hashing")  # which is a part of the node's
    return quotient(spent_s * 1e6, window.answers)


def _latency_ms(window: Window, percent: float) -> float:
    return window.streams["login"].good.percentile_ms(percent)


def _services(installation: Installation) -> dict[str, Service]:
    node = installation.node("api-1", processes=cores())
    return {
        crowd: Service(
            name=crowd,
            port=node.port,
            tree=Tree(node.pid),
            dialect=dialect_of(crowd),
            beside={"background": installation.background},
        )
        for crowd in (PLAIN, ENTRANT)
    }
