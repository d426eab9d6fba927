"""What a worker does in one lane: which kinds of jobs, how, and how many at a time."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tidegate.domain.jobs import JobKind
from tidegate.ports.jobs import JobBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Jobs that are done alike; a lane that is slow or stuck holds up no other.

    Attributes:
        name: Also that of its consumer at the queue.
        do: Does a batch within its transaction; what it raises, unless `Unavailable`, is the fault of a job in it.
        at_once_max: Jobs in one transaction.
        parallel: Transactions under way at once.
        tries_max: After so many failures a job waits for a person.
    """

    name: str
    kinds: Sequence[JobKind]
    do: Callable[[JobBatch], Awaitable[None]]
    at_once_max: int
    parallel: int
    tries_max: int


class Watcher(Protocol):
    """Hears what a worker does, for metrics and log."""

    def done(self, lane: str, count: int) -> None:
        """*count* jobs took effect."""

    def failed(self, lane: str, error: str, *, is_dead: bool) -> None:
        """One job failed with an error of the class *error*; it is tried again, or dead."""

    def relayed(self, lane: str, ages_s: Sequence[float]) -> None:
        """Jobs were published, each so long after it was put."""
