"""The replicas as an API process reads from them: their connections, their watches, the users looked up there."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from tidegate.config import Settings
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.observability import metrics
from tidegate.observability.log import JsonLog
from tidegate.ports.users import NearbyUsers
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.replica_pools import START, ReplicaPool
from tidegate.storage.replica_users import ReadOutcome, Replica, ReplicaUsers
from tidegate.storage.replica_watch import Ailment, ReplicaWatch
from tidegate.storage.users import PostgresUsers
from tidegate.wiring.parts import background

_WATCH_PATIENCE_S: Final = 0.3
"""How long a watch waits for an answer: with its interval of 0.2 s, a replica that hangs is out within 1 s (DESIGN 5.5)."""

_CONNECT_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Nearby:
    """Users where reading is cheapest.

    Attributes:
        users: On the replicas; where none is named, on the primary.
        tell: Brings the metrics up to now.
    """

    users: NearbyUsers
    tell: Callable[[], None]


@asynccontextmanager
async def open_nearby(settings: Settings, users: PostgresUsers, log: JsonLog) -> AsyncIterator[Nearby]:
    """Connect to the replicas, where some are named; that they are away stops nobody.

    Args:
        settings: Which there are.
        users: On the primary.
        log: Hears which become sick and well.
    """
    if not settings.replica_dsns:
        yield Nearby(users, lambda: None)
        return
    async with AsyncExitStack() as opened:
        primary = PrimaryPool(
            dsn=settings.primary_dsn,
            size=1,
            acquire_timeout_s=_WATCH_PATIENCE_S,
            statement_timeout_s=_WATCH_PATIENCE_S,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
        )
        primary.open_later()
        opened.push_async_callback(primary.aclose)
        watches: list[ReplicaWatch] = []
        replicas: list[Replica] = []
        for number, dsn in enumerate(settings.replica_dsns, start=1):
            pool = _pool(dsn, settings.replica_connections, settings.replica_statement_timeout_ms / 1000)
            watched = _pool(dsn, 1, _WATCH_PATIENCE_S)
            for each in (pool, watched):
                each.open_later()
                opened.push_async_callback(each.aclose)
            watch = ReplicaWatch(
                replica=watched,
                primary=primary,
                lag_s_max=settings.replica_lag_ms_max / 1000,
                on_change=partial(_report, log, number),
            )
            await opened.enter_async_context(background(watch.run()))
            watches.append(watch)
            replicas.append(Replica(pool, watch))
        reads: Counter[ReadOutcome] = Counter()

        def count(outcome: ReadOutcome) -> None:
            reads[outcome] += 1

        def tell() -> None:
            for number, (replica, watch) in enumerate(zip(replicas, watches, strict=True), start=1):
                metrics.REPLICA_UP.labels(number).set(replica.is_well)
                metrics.REPLICA_LAG_BYTES.labels(number).set(watch.lag_bytes)
                metrics.REPLICA_LAG_SECONDS.labels(number).set(watch.lag_s)
            for outcome in ReadOutcome:
                metrics.NEARBY_READS.labels(outcome).inc(reads.pop(outcome, 0))

        yield Nearby(ReplicaUsers(replicas, primary=users, on_read=count), tell)


async def replica_connections_offered(settings: Settings) -> dict[int, int]:
    """How many connections each replica that answers now lets everybody but its superusers hold, by its number."""
    offered: dict[int, int] = {}
    for number, dsn in enumerate(settings.replica_dsns, start=1):
        pool = _pool(dsn, 1, settings.database_connect_timeout_ms / 1000)
        with suppress(DatabaseUnavailable):  # one that is away stops nobody, and can be away at any time
            await pool.open()
            (row,) = await pool.fetch("connections_offered", seen=START)
            offered[number] = row["offered"]
        await pool.aclose()
    return offered


def _pool(dsn: str, size: int, timeout_s: float) -> ReplicaPool:
    return ReplicaPool(
        dsn=dsn,
        size=size,
        acquire_timeout_s=timeout_s,
        statement_timeout_s=timeout_s,
        connect_timeout_s=_CONNECT_TIMEOUT_S,
    )


def _report(log: JsonLog, number: int, ailment: Ailment | None) -> None:
    if ailment is None:
        log.event("info", "replicas", f"replica {number} is well")
    else:
        log.event("warning", "replicas", f"replica {number} is not read from: {ailment}")
