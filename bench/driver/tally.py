"""Counts what comes of one stream, at the price of a few list entries a request."""

from collections import Counter
from time import monotonic

from bench.histogram import Histogram
from bench.orders import StreamMeasured

_REFUSALS = frozenset({b"429", b"503"})


class Tally:
    """What has come of a stream so far.

    Args:
        good: The status that means success.
        is_open: Whether requests are due at times of their own, so that their latency counts from then.
    """

    def __init__(self, *, good: int, is_open: bool) -> None:
        self._good = b"%d" % good
        self._is_open = is_open
        self._from = self._until = float("inf")
        self._asked = 0
        self._by_status: Counter[bytes] = Counter()
        self._good_s: list[float] = []
        self._refused_s: list[float] = []
        self._lateness_s: list[float] = []

    def begin(self, now: float, until: float) -> None:
        """The window is from *now* to *until*."""
        self._from, self._until = now, until

    def asked(self, due_at: float, late_s: float) -> None:
        """A request that was due at *due_at* has been sent or has begun to wait; *late_s* is the driver's own fault."""
        if self._from <= due_at < self._until:
            self._asked += 1
            if self._is_open:
                self._lateness_s.append(late_s)

    def answered(self, status: bytes, due_at: float, now: float) -> bool:
        """An answer has come; return whether it is a good one."""
        is_good = status == self._good
        if self._from <= now < self._until:
            self._by_status[status] += 1
        counted_at = due_at if self._is_open else now
        if self._from <= counted_at < self._until:
            if is_good:
                self._good_s.append(now - due_at)
            elif status in _REFUSALS:
                self._refused_s.append(now - due_at)
        return is_good

    def lost(self) -> None:
        """A connection has ended instead of answering."""
        if self._from <= monotonic() < self._until:
            self._by_status[b"lost"] += 1

    def measured(self, unanswered: list[float]) -> StreamMeasured:
        """Return all that came.

        Args:
            unanswered: When each request was due that has had no answer yet.
        """
        now = monotonic()
        missing = [now - due_at for due_at in unanswered if self._from <= due_at < self._until]
        return StreamMeasured(
            asked=self._asked,
            unanswered=len(missing),
            by_status={status.decode(): n for status, n in sorted(self._by_status.items())},
            good=Histogram.of(self._good_s + (missing if self._is_open else [])),
            refused=Histogram.of(self._refused_s),
            lateness=Histogram.of(self._lateness_s),
        )
