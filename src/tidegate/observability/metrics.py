"""Every metric, once. With PROMETHEUS_MULTIPROC_DIR in the environment all processes of a node count into one place."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS: Final = Counter("tidegate_requests", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS: Final = Histogram(
    "tidegate_request_seconds", "From the head read to the answer.", ["route"], buckets=_SECONDS
)
REFUSED: Final = Counter("tidegate_refused", "Requests that did not end in success, by reason.", ["route", "reason"])
HASH_SECONDS: Final = Histogram("tidegate_hash_seconds", "One password hash on its thread.", buckets=_SECONDS)
HASH_WAITING: Final = Gauge("tidegate_hash_waiting", "Hash jobs waiting for a thread.", multiprocess_mode="livesum")
HASH_RUNNING: Final = Gauge("tidegate_hash_running", "Hash jobs on a thread.", multiprocess_mode="livesum")
HASH_THREADS: Final = Gauge("tidegate_hash_threads", "Threads that hash.", multiprocess_mode="livesum")
DATABASE_IN_USE: Final = Gauge("tidegate_database_connections_in_use", "Of the primary.", multiprocess_mode="livesum")
DATABASE_OPEN: Final = Gauge("tidegate_database_connections_open", "Of the primary.", multiprocess_mode="livesum")
REVOCATIONS_FED: Final = Gauge(
    "tidegate_revocation_feed_up", "Processes whose feed is trusted.", multiprocess_mode="livesum"
)


class RequestCounter:
    """Counts requests; keeps the labelled children, because finding one costs more than raising it."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    def count(self, *, route: str, method: str, status: int | None, outcome: str, duration_s: float) -> None:
        """Count one request; status 499 stands for a client that was gone before its answer."""
        key = (route, method, status or 499)
        requests = self._requests.get(key)
        if requests is None:
            requests = self._requests[key] = REQUESTS.labels(route, method, str(status or 499))
        requests.inc()
        seconds = self._seconds.get(route)
        if seconds is None:
            seconds = self._seconds[route] = REQUEST_SECONDS.labels(route)
        seconds.observe(duration_s)
        if outcome != "ok":
            REFUSED.labels(route, outcome).inc()
