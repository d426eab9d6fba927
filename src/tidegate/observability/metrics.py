"""Every metric, once. With PROMETHEUS_MULTIPROC_DIR in the environment all processes of a node count into one place."""

import asyncio
from bisect import bisect_left
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS: Final = Counter("tidegate_requests", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS: Final = Histogram(
    "tidegate_request_seconds", "From the head read to the answer.", ["route"], buckets=_SECONDS
)
REFUSED: Final = Counter("tidegate_refused", "Requests that did not end in success, by reason.", ["route", "reason"])
HASH_SECONDS: Final = Histogram("tidegate_hash_seconds", "One password hash on its thread.", buckets=_SECONDS)
HASH_WAITING: Final = Gauge(
    "tidegate_hash_waiting", "Hash jobs waiting for a thread.", ["lane"], multiprocess_mode="livesum"
)
HASH_REFUSED: Final = Counter("tidegate_hash_refused", "Callers who got no hash, by reason.", ["lane", "reason"])
HASH_SHARED: Final = Counter("tidegate_hash_shared", "Callers who got the hash of an equal job.", ["lane"])
HASH_RUNNING: Final = Gauge("tidegate_hash_running", "Hash jobs on a thread.", multiprocess_mode="livesum")
HASH_THREADS: Final = Gauge("tidegate_hash_threads", "Threads that hash.", multiprocess_mode="livesum")
DATABASE_IN_USE: Final = Gauge("tidegate_database_connections_in_use", "Of the primary.", multiprocess_mode="livesum")
DATABASE_OPEN: Final = Gauge("tidegate_database_connections_open", "Of the primary.", multiprocess_mode="livesum")
REPLICA_UP: Final = Gauge(
    "tidegate_replica_up", "Processes that read from the replica.", ["replica"], multiprocess_mode="livesum"
)
REPLICA_LAG_BYTES: Final = Gauge(
    "tidegate_replica_lag_bytes", "Log that the replica has not replayed.", ["replica"], multiprocess_mode="livemax"
)
REPLICA_LAG_SECONDS: Final = Gauge(
    "tidegate_replica_lag_seconds", "How far the replica is behind.", ["replica"], multiprocess_mode="livemax"
)
NEARBY_READS: Final = Counter(
    "tidegate_user_lookups", "Look-ups of logins, by who answered or why it was the primary.", ["outcome"]
)
REVOCATIONS_FED: Final = Gauge(
    "tidegate_revocation_feed_up", "Processes whose feed is trusted.", multiprocess_mode="livesum"
)
FEED_AGE: Final = Gauge(
    "tidegate_feed_age_seconds",
    "How old the newest proof is that every change is known, of the process where it is oldest.",
    multiprocess_mode="livemax",
)
FEED_QUEUED: Final = Gauge(
    "tidegate_feed_by_queue", "Processes that hear of every change through the queue.", multiprocess_mode="livesum"
)
CLOCK_OFF: Final = Gauge(
    "tidegate_clock_off_seconds",
    "How far the node's clock is from the primary's, beyond what the way to it leaves open.",
    multiprocess_mode="livemax",
)
# Of the whole node, told by each of its processes alike.
EXISTENCE_NAMES: Final = Gauge(
    "tidegate_existence_names", "Names in the existence filter, about.", multiprocess_mode="livemax"
)
EXISTENCE_LOADED: Final = Gauge(
    "tidegate_existence_loaded", "Whether the existence filter has been gathered.", multiprocess_mode="livemax"
)
EXISTENCE_DECIDES: Final = Gauge(
    "tidegate_existence_decides_alone",
    'Whether a "no" of the existence filter is final now.',
    multiprocess_mode="livemax",
)
EXISTENCE_FED_AGE: Final = Gauge(
    "tidegate_existence_fed_age_seconds",
    "How old the newest proof is that the filter has every name that any node has added.",
    multiprocess_mode="livemax",
)
EXISTENCE_SPARED: Final = Counter(
    "tidegate_existence_spared_lookups", "Look-ups in the database that the existence filter has spared.", ["route"]
)
THROTTLED: Final = Counter(
    "tidegate_throttled", "Attempts refused because too many failed before, by what was counted.", ["kind"]
)
CACHE_UP: Final = Gauge("tidegate_cache_up", "Processes that reach the cache.", multiprocess_mode="livesum")
QUEUE_UP: Final = Gauge("tidegate_queue_up", "Processes that reach the queue.", multiprocess_mode="livesum")
JOBS_DONE: Final = Counter("tidegate_jobs_done", "Jobs that took effect.", ["lane"])
JOBS_FAILED: Final = Counter(
    "tidegate_jobs_failed", "Failures of a job, by class; each is tried again or dead.", ["lane", "error"]
)
COUPONS_GRANTED: Final = Counter("tidegate_coupons_granted", "Coupons granted by this worker.")
JOBS_DEAD: Final = Counter("tidegate_jobs_dead", "Jobs that failed too often and wait for a person.", ["lane"])
JOBS_RELAYED: Final = Counter("tidegate_jobs_relayed", "Jobs published to the queue.", ["lane"])
JOBS_RELAY_SECONDS: Final = Histogram(
    "tidegate_jobs_relay_seconds",
    "From the put to the publication of the oldest job of a batch.",
    ["lane"],
    buckets=_SECONDS,
)
JOBS_WAITING: Final = Gauge("tidegate_jobs_waiting", "Jobs not done, up to 100,000.", multiprocess_mode="livemax")
JOBS_OLDEST_SECONDS: Final = Gauge("tidegate_jobs_oldest_seconds", "Age of the oldest job.", multiprocess_mode="livemax")
WORKER_OVERDUE: Final = Gauge(
    "tidegate_worker_overdue_seconds", "How late the latest of the worker's rounds is.", multiprocess_mode="livemax"
)


_FLUSH_INTERVAL_S: Final = 0.2
"""How late a request may be counted. Counting each at once costs 5 us, a sixth of a cached `/me`; so, 0.9 us."""


class RequestCounter:
    """Counts requests: at once into a tally of its own, from there now and then into the metrics."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, int, str], _Tally] = {}
        self._flush_due: asyncio.TimerHandle | None = None

    def count(self, *, route: str, method: str, status: int | None, outcome: str, duration_s: float) -> None:
        """Count one request; status 499 stands for a client that was gone before its answer."""
        key = (route, method, status or 499, outcome)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally(*key)
        tally.seconds += duration_s
        tally.buckets[bisect_left(_SECONDS, duration_s)] += 1
        if self._flush_due is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.flush()
            else:
                self._flush_due = loop.call_later(_FLUSH_INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Bring what was counted into the metrics."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        for tally in self._tallies.values():
            tally.flush()


class _Tally:
    """What has been counted under one set of labels and not been flushed yet.

    Attributes:
        seconds: Of all its requests together.
        buckets: How many took up to each of `_SECONDS`, and longer than the last.
    """

    __slots__ = ("_into_buckets", "_into_refused", "_into_requests", "_into_sum", "buckets", "seconds")

    def __init__(self, route: str, method: str, status: int, outcome: str) -> None:
        self._into_requests = REQUESTS.labels(route, method, str(status))
        self._into_refused = None if outcome == "ok" else REFUSED.labels(route, outcome)
        # The library can observe one by one only; a histogram is these values, and a test holds that it stays so.
        histogram = REQUEST_SECONDS.labels(route)
        self._into_sum = histogram._sum  # noqa: SLF001 - see above
        self._into_buckets = histogram._buckets  # noqa: SLF001 - see above
        self.seconds = 0.0
        self.buckets = [0] * (len(_SECONDS) + 1)

    def flush(self) -> None:
        requests = sum(self.buckets)
        if not requests:
            return
        self._into_requests.inc(requests)
        if self._into_refused is not None:
            self._into_refused.inc(requests)
        self._into_sum.inc(self.seconds)
        for into, count in zip(self._into_buckets, self.buckets, strict=True):
            if count:
                into.inc(count)
        self.seconds = 0.0
        self.buckets = [0] * len(self.buckets)
