"""Failures counted, here and together with other nodes."""

from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from tidegate.domain.throttling import Counter


class Attempt(Protocol):
    """One attempt under way: it holds a place in each of its counters until the end of the block.

    An attempt that ends without a word counts nothing: the password was right, or nobody came to compare it.
    """

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the places."""

    async def fail(self) -> None:
        """Count it as failed, in every counter; once this returns every node knows, if the nodes can talk now."""

    def succeed(self) -> None:
        """Forget what the counters hold that belong to this caller alone: the pair of user and address, the device."""


class Throttle(Protocol):
    """Counts failures, and makes whoever has failed too often wait. It never says more than "too many"."""

    async def admit(self, counters: Sequence[Counter]) -> Attempt:
        """Let one attempt begin that may fail, as soon as no counter would exceed its limit if all under way failed.

        Raises:
            TooManyAttempts: A counter is at its limit.
        """

    def check(self, counters: Sequence[Counter]) -> None:
        """See whether a counter is at its limit, as far as this process knows; asks nobody and waits for nothing.

        Raises:
            TooManyAttempts: One is.
        """

    def count(self, counters: Sequence[Counter]) -> None:
        """Add one to each counter; other processes hear of it a moment later. Asks nobody and waits for nothing.

        Raises:
            TooManyAttempts: One is at its limit, and none was counted.
        """


class Increment(NamedTuple):
    """So many more in a bucket, which is forgotten *lives_s* after the last."""

    bucket: bytes
    by: int
    lives_s: int


class SharedCounters(Protocol):
    """Numbers that all nodes share. They may be away, late or emptied at any moment, and then nothing is raised.

    A bucket is what one counter holds of one window; its name is of any bytes.
    """

    @property
    def is_up(self) -> bool:
        """Whether asking makes sense now."""

    async def read(self, buckets: Sequence[bytes]) -> Sequence[int] | None:
        """What is in each bucket, 0 where nothing is; None: they are away."""

    async def add(self, increments: Sequence[Increment]) -> Sequence[int] | None:
        """Add, all or as far as it gets; what is in each bucket then, or None: they are away."""

    def clear(self, buckets: Sequence[bytes]) -> None:
        """Empty the buckets, soon."""
