"""The highest rate of everyday calls, coming as they please, at which looking at one's profile is still quick."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.field import Field, Load
from bench.figures import Figure, quotient, spread
from bench.node import OURS
from bench.peers import go_seed
from bench.scenarios.scenario import in_turn
from bench.turns import Round, Window

SHARES: Final = {"me": 0.90, "refresh": 0.05, "login": 0.04, "register": 0.01}
CONNECTIONS: Final = {"me": 256, "refresh": 64, "login": 256, "register": 64}
ME_P99_MS_MAX: Final = 25.0
SERVED_MIN: Final = 0.95
"""Of what was due of each call: a service that refuses or puts off its logins is not at this rate."""

FIRST_RATE: Final = 500.0
PRECISION: Final = 1.05


def is_kept_up(window: Window) -> bool:
    """Whether *window* was at a rate that its service can keep up."""
    served = all(window.good(name) >= SERVED_MIN * stream.asked for name, stream in window.streams.items() if stream.asked)
    return served and window.streams["me"].good.percentile_ms(99) <= ME_P99_MS_MAX


def highest(is_good: Callable[[float], bool], *, first: float, precision: float) -> float:
    """Return the highest rate that *is_good*, by doubling and halving (on a scale of ratios) from *first*.

    Args:
        is_good: Tried at one rate after the other; taken to be true up to some rate and false from there on.
        first: Where to begin.
        precision: How far the lowest bad rate may lie above the highest good one, as a quotient.
    """
    good, bad, rate = 0.0, math.inf, first
    while good * precision < bad and rate > 1:
        if is_good(rate):
            good = rate
        else:
            bad = rate
        rate = good * 2 if bad == math.inf else bad / 2 if good == 0 else math.sqrt(good * bad)
    return good


@dataclass(frozen=True, slots=True)
class Mixed:
    """An open loop whose rate is searched for."""

    name: str = "mixed"
    title: str = "Mixed: 90 % /me, 5 % /refresh, 4 % /login, 1 % /register"
    peers: Sequence[str] = (go_seed.NAME,)

    def round(self, field: Field, number: int) -> Round:
        """Each service searched for itself."""
        turns: Round = []

        def is_kept_up_at(service: str, rate: float) -> bool:
            loads = [Load(call, CONNECTIONS[call], rate * share) for call, share in SHARES.items()]
            window = field.drive(service, loads, label=f"{rate:.0f}/s")
            turns.append(window)
            return is_kept_up(window)

        for service in in_turn([OURS, *(peer for peer in self.peers if field.has(peer))], number):

            def is_good(rate: float, service: str = service) -> bool:
                # Twice: one stall of the machine would end the search far below what the service can do.
                return is_kept_up_at(service, rate) or is_kept_up_at(service, rate)

            highest(is_good, first=FIRST_RATE, precision=PRECISION)
        return turns

    def told(self, turns: Round) -> Round:
        """See `Scenario`: for each service the window at its highest rate."""
        return [found for service in (OURS, *self.peers) if (found := _best(turns, service))]

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Scenario`."""
        ours = [_highest_of(turns, OURS) for turns in rounds]
        figures = [Figure(text=f"{self.title}: highest rate", unit="a second", spread=spread(ours), digits=0)]
        for peer in self.peers:
            theirs = [_highest_of(turns, peer) for turns in rounds]
            if any(theirs):
                ratios = [quotient(mine, other) for mine, other in zip(ours, theirs, strict=True)]
                figures.append(Figure(text=f"{self.title} ÷ {peer}'s", spread=spread(ratios), at_least=1.5))
        return figures


def _best(turns: Round, service: str) -> Window | None:
    """The window of *service* at the highest rate that it kept up."""
    kept_up = [turn for turn in turns if isinstance(turn, Window) and turn.service == service and is_kept_up(turn)]
    return max(kept_up, key=_rate, default=None)


def _rate(window: Window) -> float:
    return window.asked_per_s or 0.0


def _highest_of(turns: Round, service: str) -> float:
    best = _best(turns, service)
    return _rate(best) if best else 0.0
