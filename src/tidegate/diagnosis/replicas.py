"""Asks each replica whether it may be read from, as the watches of API processes will, and what it allows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import asyncpg

from tidegate.diagnosis.findings import Finding, Matter, ok, warning, wrong

Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_LAG_BYTES_MAX: Final = 16 << 20
"""One segment of the log: what a replica that keeps up is never behind by."""

_ASK_PRIMARY: Final = """\
SELECT
    (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS flushed,
    ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int AS timeline,
    (SELECT system_identifier FROM pg_control_system()) AS system
"""

_ASK_REPLICA: Final = """\
SELECT
    pg_is_in_recovery() AS is_standby,
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS is_paused,
    coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint, 0) AS replayed,
    EXISTS (SELECT FROM pg_stat_wal_receiver) AS is_fed,
    (SELECT received_tli FROM pg_stat_wal_receiver) AS timeline,
    (SELECT system_identifier FROM pg_control_system()) AS system,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS offered
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """What the primary says of itself, named as in the statement above.

    Attributes:
        flushed: How far its log is written, in bytes.
        timeline: That it writes.
        system: Which database it is.
    """

    flushed: int
    timeline: int
    system: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standby:
    """What a replica says of itself, named as in the statement above.

    Attributes:
        is_standby: Whether it only follows.
        is_paused: Whether its replay is paused.
        replayed: How far, in bytes of the log.
        is_fed: Whether it receives anything.
        timeline: Of what it receives; None: nothing, or our role may not see.
        system: Which database it is a copy of.
        offered: Connections for everybody but superusers.
    """

    is_standby: bool
    is_paused: bool
    replayed: int
    is_fed: bool
    timeline: int | None
    system: int
    offered: int


async def examine_replicas(
    dsns: Sequence[str], *, primary_dsn: str, connections: int, connect_timeout_s: float
) -> list[Finding]:
    """One finding for each replica.

    Args:
        dsns: Of the replicas, in the order in which logs and metrics number them from 1.
        primary_dsn: What they are compared with.
        connections: To each replica, that the API processes of this node hold together.
        connect_timeout_s: How long to wait for each, and for its answer.
    """
    return [
        await _examine(number, dsn, primary_dsn, connections=connections, timeout_s=connect_timeout_s)
        for number, dsn in enumerate(dsns, start=1)
    ]


async def _examine(number: int, dsn: str, primary_dsn: str, *, connections: int, timeout_s: float) -> Finding:
    try:
        standby = Standby(**await _asked(dsn, _ASK_REPLICA, timeout_s=timeout_s))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        return warning(
            Matter.REPLICAS,
            f"replica {number} cannot be asked ({type(error).__name__}); others or the primary are read from",
            "start it, or correct TIDEGATE_REPLICA_DSNS",
        )
    try:  # the replica first: what it has by then, the primary has flushed
        primary = Primary(**await _asked(primary_dsn, _ASK_PRIMARY, timeout_s=timeout_s))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return warning(Matter.REPLICAS, f"replica {number} answers, but not the primary", "see to the primary first")
    return judged(number, standby, primary, connections=connections)


async def _asked(dsn: str, statement: str, *, timeout_s: float) -> asyncpg.Record:
    driver: Driver = await asyncpg.connect(dsn, timeout=timeout_s, server_settings={"application_name": "tidegate doctor"})
    try:
        async with asyncio.timeout(timeout_s):
            (row,) = await driver.fetch(statement)
            return row
    finally:
        driver.terminate()


def judged(number: int, standby: Standby, primary: Primary, *, connections: int) -> Finding:
    """Whether replica *number* may be read from, and has room for *connections*."""
    about = f"replica {number}"
    if not standby.is_standby:
        return wrong(
            Matter.REPLICAS, f"{about} is no standby: it takes writes", "name a standby, or make it follow the primary"
        )
    if standby.system != primary.system:
        return wrong(Matter.REPLICAS, f"{about} is a copy of another database", "correct TIDEGATE_REPLICA_DSNS")
    if not standby.is_fed:
        return wrong(Matter.REPLICAS, f"{about} receives nothing", "see primary_conninfo and the server's log there")
    if standby.timeline is None:
        return wrong(
            Matter.REPLICAS,
            f"{about} does not tell our role what it receives, so nothing is read there",
            "GRANT pg_read_all_stats to the role",
        )
    if standby.timeline != primary.timeline or standby.replayed > primary.flushed:
        return wrong(
            Matter.REPLICAS,
            f"{about} is on timeline {standby.timeline}, the primary on {primary.timeline}: what it replays is another log",
            "rebuild it from the primary (pg_rewind, pg_basebackup)",
        )
    if standby.is_paused:
        return warning(Matter.REPLICAS, f"{about} does not replay: it is paused", "SELECT pg_wal_replay_resume() there")
    if connections > standby.offered:
        return wrong(
            Matter.REPLICAS,
            f"{about} lets {standby.offered} connections in, this node takes {connections}",
            "lower TIDEGATE_REPLICA_CONNECTIONS or TIDEGATE_API_PROCESSES, or raise max_connections there",
        )
    lag_bytes = primary.flushed - standby.replayed
    says = f"{about} follows on timeline {standby.timeline}, {lag_bytes} bytes behind; this node takes {connections} of "
    says += f"{standby.offered} connections"
    if lag_bytes > _LAG_BYTES_MAX:
        return warning(Matter.REPLICAS, says, "it does not keep up: see what holds its replay up, or its disk")
    return ok(Matter.REPLICAS, says)
