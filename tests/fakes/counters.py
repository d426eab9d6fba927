"""Counters of all nodes in one dictionary."""

from collections.abc import Sequence

from tidegate.ports.throttling import Increment


class InMemoryCounters:
    """Implements `ports.throttling.SharedCounters`.

    Attributes:
        is_up: A test may take them away.
        is_late: They look up, but whoever asks finds out that they are not.
        buckets: What is in them.
        asked: How often they were read.
    """

    def __init__(self) -> None:
        self.is_up = True
        self.is_late = False
        self.buckets: dict[bytes, int] = {}
        self.asked = 0

    async def read(self, buckets: Sequence[bytes]) -> Sequence[int] | None:
        self.asked += 1
        return [self.buckets.get(bucket, 0) for bucket in buckets] if self._answers else None

    async def add(self, increments: Sequence[Increment]) -> Sequence[int] | None:
        if not self._answers:
            return None
        for bucket, by, _ in increments:
            self.buckets[bucket] = self.buckets.get(bucket, 0) + by
        return [self.buckets[bucket] for bucket, _, _ in increments]

    def clear(self, buckets: Sequence[bytes]) -> None:
        if self._answers:
            for bucket in buckets:
                self.buckets.pop(bucket, None)

    @property
    def _answers(self) -> bool:
        return self.is_up and not self.is_late
