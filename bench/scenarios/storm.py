"""Ten times as many logins as can be hashed: who is served, how fast the others hear it, and how everybody else fares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.field import Field, Load
from bench.figures import Figure, quotient, spread
from bench.node import OURS
from bench.scenarios.scenario import windows_of
from bench.turns import Round

TIMES: Final = 10
SIDE_PER_S: Final = 100.0
GOODPUT_MIN: Final = 0.90
REFUSAL_P99_MS_MAX: Final = 20.0
SIDE_P99_MS_MAX: Final = 15.0
PEAK, STORM = "peak", "storm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """First the peak in a closed loop, then the storm in an open one.

    Attributes:
        seconds: Of the storm.
    """

    seconds: float
    name: str = "storm"
    title: str = f"Login storm at {TIMES} times the peak"
    peers: Sequence[str] = ()

    def round(self, field: Field, number: int) -> Round:  # noqa: ARG002 - there is one order only
        """The peak just before the storm."""
        peak = field.drive(OURS, [Load("login", 64)], label=PEAK)
        loads = [
            # As many connections as may wait in the kernel and in our queues together; who is refused frees one at once.
            Load("login", 4_096, TIMES * max(1.0, peak.good_per_s("login"))),
            Load("me", 64, SIDE_PER_S),
            Load("refresh", 64, SIDE_PER_S),
        ]
        return [peak, field.drive(OURS, loads, seconds=self.seconds, label=STORM)]

    def told(self, turns: Round) -> Round:
        """See `Scenario`: all."""
        return turns

    def figures(self, rounds: Sequence[Round]) -> list[Figure]:
        """See `Scenario`."""
        peaks = [window for turns in rounds for window in windows_of(turns, OURS, PEAK)]
        storms = [window for turns in rounds for window in windows_of(turns, OURS, STORM)]
        goodput = [
            quotient(storm.good_per_s("login"), peak.good_per_s("login")) for peak, storm in zip(peaks, storms, strict=True)
        ]
        refusals = spread([storm.streams["login"].refused.percentile_ms(99) for storm in storms])
        lateness = spread([storm.streams["login"].lateness.percentile_ms(99) for storm in storms])
        return [
            Figure(text="storm: good logins/s ÷ the peak", spread=spread(goodput), at_least=GOODPUT_MIN),
            Figure(text="storm: p99 of a refusal", unit="ms", spread=refusals, at_most=REFUSAL_P99_MS_MAX, digits=1),
            *(
                Figure(
                    text=f"storm: p99 of /{call} at {SIDE_PER_S:.0f}/s",
                    unit="ms",
                    spread=spread([storm.streams[call].good.percentile_ms(99) for storm in storms]),
                    at_most=SIDE_P99_MS_MAX,
                    digits=1,
                )
                for call in ("me", "refresh")
            ),
            Figure(text="storm: p99 of the driver's own lateness", unit="ms", spread=lateness, digits=1),
        ]
