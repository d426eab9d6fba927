"""What the metrics of a node say of the time since they were last read: requests, logins, how long they took, who waits."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_SAMPLE: Final = re.compile(r"^(tidegate_\w+?)(?:\{(.*)\})? ([0-9.e+-]+|\+Inf|NaN)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

_NOT_ASKED_BY_PEOPLE: Final = "/health/"
"""Routes that the balancer asks four times a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a node has counted since it began.

    Attributes:
        requests: Answered ones.
        logins: Of these, logins that were let in.
        up_to: How many requests took up to so many seconds, by that bound in ascending order.
        hashes_waiting: Now, not since.
    """

    requests: float = 0.0
    logins: float = 0.0
    up_to: Mapping[float, float] = field(default_factory=dict)
    hashes_waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a node has fared of late.

    Attributes:
        requests_per_s: Answered.
        logins_per_s: Let in.
        p99_ms: What 99 of 100 requests took at most, as finely as the histogram tells; None: there were none.
        hashes_waiting: For a thread.
    """

    requests_per_s: float
    logins_per_s: float
    p99_ms: float | None
    hashes_waiting: int


def read_metrics(text: str) -> Counted:
    """Read what /metrics answered, in Prometheus' text format."""
    requests = logins = waiting = 0.0
    up_to: dict[float, float] = {}
    for name, labels, value in _samples(text):
        if labels.get("route", "").startswith(_NOT_ASKED_BY_PEOPLE):
            continue
        match name:
            case "tidegate_requests_total":
                requests += value
                if labels.get("route") == "/login" and labels.get("status") == "200":
                    logins += value
            case "tidegate_request_seconds_bucket":
                bound = float(labels["le"])
                up_to[bound] = up_to.get(bound, 0.0) + value
            case "tidegate_hash_waiting":
                waiting += value
    return Counted(requests=requests, logins=logins, up_to=dict(sorted(up_to.items())), hashes_waiting=round(waiting))


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for found in _SAMPLE.finditer(text):
        yield found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])


def pace(before: Counted, now: Counted, seconds: float) -> Pace:
    """What happened within *seconds* between two readings; a node that was started again in between began at zero."""
    if now.requests < before.requests:
        before = Counted()
    up_to = {bound: count - before.up_to.get(bound, 0.0) for bound, count in now.up_to.items()}
    return Pace(
        requests_per_s=max(0.0, now.requests - before.requests) / seconds,
        logins_per_s=max(0.0, now.logins - before.logins) / seconds,
        p99_ms=_quantile_ms(up_to, 0.99),
        hashes_waiting=now.hashes_waiting,
    )


def together(paces: Sequence[Pace]) -> tuple[float, float]:
    """Requests and logins a second of several nodes."""
    return sum(each.requests_per_s for each in paces), sum(each.logins_per_s for each in paces)


def _quantile_ms(up_to: Mapping[float, float], share: float) -> float | None:
    """Between the bounds of the bucket that it falls into, as if the requests in it were spread evenly."""
    total = max(up_to.values(), default=0.0)
    if total <= 0:
        return None
    wanted = share * total
    low, below = 0.0, 0.0
    for bound, count in up_to.items():
        if count >= wanted:
            # Above the last bound there is nothing between which to reckon.
            high = low if bound == float("inf") else bound
            return 1000 * (low + (high - low) * (wanted - below) / max(count - below, 1.0))
        low, below = bound, count
    return 1000 * low
