"""What a question to many nodes is, and how several arrangements of nodes are asked the same in turn."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bench.field import Field, Load
from bench.figures import Figure, quotient, spread
from bench.scenarios.scenario import Told, in_turn, windows_of
from bench.turns import Round, Window

CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How much is to be measured.

    Attributes:
        rounds: How often all of it.
        seconds: Of each turn of load.
        users: How many can log in.
        tell: Told each turn as it ends, for whoever waits.
    """

    rounds: int
    seconds: float
    users: int
    tell: Callable[[str], None]


class Question(Told, Protocol):
    """One that starts by itself what it asks."""

    @property
    def title(self) -> str:
        """For people."""

    def asking(self, folder: Path, asked: Asked) -> AbstractContextManager[Callable[[int], Round]]:
        """Start all in *folder*, for as long as the block lasts; what it gives takes the turns of a round, from 0."""


def round_of(field: Field, services: Sequence[str], calls: Sequence[str], number: int) -> Round:
    """Ask each of *services* in turn for each of *calls*."""
    return [
        field.drive(service, [Load(call, CONNECTIONS)], label=call)
        for call in calls
        for service in in_turn(services, number)
    ]


def asked_for(call: str, service: str, rounds: Sequence[Round]) -> list[Window]:
    """The windows in which *service* was asked for *call*, one a round."""
    return [window for turns in rounds for window in windows_of(turns, service, call)]


def rates(title: str, call: str, services: Sequence[str], rounds: Sequence[Round]) -> Iterator[Figure]:
    """Yield how many good answers to *call* came in a second, of each of *services*."""
    for service in services:
        found = [window.good_per_s(call) for window in asked_for(call, service, rounds)]
        yield Figure(text=f"{title}: {service}", unit="a second", spread=spread(found), digits=0)


def costs(title: str, call: str, service: str, part: str, rounds: Sequence[Round]) -> Figure:
    """What an answer of *service* to *call* cost *part* in CPU time."""
    found = [quotient(window.cpu_s.get(part, 0.0) * 1e6, window.answers) for window in asked_for(call, service, rounds)]
    return Figure(text=f"{title}: {service}: CPU of {part}", unit="us each", spread=spread(found), digits=0)


def rate_by(title: str, call: str, service: str, other: str, rounds: Sequence[Round]) -> Figure:
    """The rate of *service* by that of *other*, round by round: they are neighbours in time."""
    pairs = zip(asked_for(call, service, rounds), asked_for(call, other, rounds), strict=True)
    found = [quotient(one.good_per_s(call), another.good_per_s(call)) for one, another in pairs]
    return Figure(text=f"{title}: {service} ÷ {other}", spread=spread(found), digits=3)
