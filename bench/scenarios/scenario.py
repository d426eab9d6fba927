"""What a scenario is, and what several of them need."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from bench.field import Field
from bench.figures import Figure, quotient, spread
from bench.node import OURS
from bench.turns import Round, Window


class Told(Protocol):
    """One question, as far as a page tells of it."""

    @property
    def name(self) -> str:
        """On the command line and in the results."""

    def told(self, turns: Round) -> Round:
        """The turns of one round that deserve a line each in the page; those of a search are too many."""

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """What came of all rounds."""


class Scenario(Told, Protocol):
    """One question to the services."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def peers(self) -> Sequence[str]:
        """Who is asked besides us, where they take part."""

    def round(self, field: Field, number: int) -> Round:
        """Take the turns of round *number*, from 0."""


def in_turn(services: Sequence[str], number: int) -> list[str]:
    """Return *services* in the order of round *number*: every other round backwards, so that drift favours nobody."""
    return list(services) if number % 2 == 0 else list(reversed(services))


def windows_of(turns: Round, service: str, label: str = "") -> list[Window]:
    """The windows of *service* in one round."""
    return [turn for turn in turns if isinstance(turn, Window) and turn.service == service and turn.label == label]


def by_peer(title: str, call: str, bounds: Mapping[str, float | None], rounds: Sequence[Round]) -> Iterator[Figure]:
    """Yield what our rate of *call* is by that of each peer that took part, round by round.

    And the same by CPU time, all that an answer cost on either side: what the quotient would be if nobody else used the
    machine and no core ever waited. Other programs take time from a window, but add none to it.

    Args:
        title: What is compared.
        call: One that both sides were asked.
        bounds: What the quotient should reach, by peer; None where nothing is asked for.
        rounds: With a window of each side.
    """
    for peer, at_least in bounds.items():
        pairs = [pair for turns in rounds for pair in zip(windows_of(turns, OURS), windows_of(turns, peer), strict=False)]
        if pairs:
            rates = [quotient(ours.good_per_s(call), theirs.good_per_s(call)) for ours, theirs in pairs]
            costs = [quotient(theirs.cpu_us_each, ours.cpu_us_each) for ours, theirs in pairs]
            yield Figure(text=f"{title} ÷ {peer}'s", spread=spread(rates), at_least=at_least)
            yield Figure(text=f"{title} ÷ {peer}'s, by CPU time", spread=spread(costs))
