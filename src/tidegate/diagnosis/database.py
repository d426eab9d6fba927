"""Asks the primary what it is, what it allows and what it promises, over one connection of its own."""

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Final, TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from tidegate.diagnosis.findings import Finding, Matter, ok, warning, wrong
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.migrations.errors import MigrationError, SchemaNewerThanProgram, SchemaOlderThanProgram
from tidegate.migrations.runner import Runner

VERSION_MIN: Final = 15
VERSION_MAX: Final = 18
"""Major versions of PostgreSQL that the tests run with."""

_CLOCK_DIFFERENCE_S_MAX: Final = 1.0
"""Expiries are compared across node and primary; access tokens allow for 5 s between nodes."""

_ROUND_TRIPS: Final = 5
_ROUND_TRIP_MS_MAX: Final = 5.0
"""A login waits for three of them one after another; across a continent it would wait longer than for its hash."""

_CONNECTIONS_BESIDE: Final = 3
"""Of a node: its worker, an operator's command, and one that is replaced while its predecessor ends."""

_WRITES_FOR_S_MAX: Final = 30.0
"""Ours end before (storage/connections.py), but those of an import may last for a minute."""

Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_ASK: Final = """\
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::int / 10000 AS major,
    pg_is_in_recovery() AS is_standby,
    current_setting('max_connections')::int AS connections_max,
    current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
    activity.taken,
    activity.ours,
    current_setting('fsync') = 'on' AS is_fsync,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('full_page_writes') = 'on' AS is_full_page_writes,
    current_setting('server_encoding') AS encoding,
    writing.pid AS writer,
    writing.application_name AS writer_name,
    writing.for_s AS writes_for_s
FROM (
    -- Of others' sessions a plain role sees neither type nor state, but these columns.
    SELECT count(*)::int AS taken, count(*) FILTER (WHERE application_name LIKE 'tidegate%')::int AS ours
    FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
) AS activity
LEFT JOIN (
    -- Who changes or locks rows holds such a lock until the end. When others' began a plain role does not see.
    SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS for_s
    FROM pg_stat_activity
    WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND pid IN (
        SELECT pid FROM pg_locks WHERE mode IN ('RowShareLock', 'RowExclusiveLock') AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
    ORDER BY xact_start LIMIT 1
) AS writing ON true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the server says of itself, named as in the statement above.

    Attributes:
        version: As PostgreSQL tells it.
        major: Version.
        is_standby: Whether it only follows a primary.
        connections_max: That it allows.
        reserved: Of them, for superusers and others with a privilege.
        taken: By whomever, now.
        ours: Of them, by Tidegate.
        is_fsync: Whether what is committed is on the disk.
        synchronous_commit: When a commit is answered.
        is_full_page_writes: Whether a page that a crash tore can be mended.
        encoding: Of the texts.
        writer: The process of the oldest transaction that changes or locks rows; None: there is none.
        writer_name: What its client calls itself.
        writes_for_s: How long it has stood.
    """

    version: str
    major: int
    is_standby: bool
    connections_max: int
    reserved: int
    taken: int
    ours: int
    is_fsync: bool
    synchronous_commit: str
    is_full_page_writes: bool
    encoding: str
    writer: int | None
    writer_name: str | None
    writes_for_s: float | None


async def examine_database(
    dsn: str, *, connections: int, connections_budget: int, connect_timeout_s: float
) -> list[Finding]:
    """Everything that is to be said of the primary.

    Args:
        dsn: As libpq reads it.
        connections: That the API processes of this node hold together.
        connections_budget: That they may hold, by the settings.
        connect_timeout_s: How long to wait for it, and for each answer.
    """
    try:
        driver = await _connect(dsn, timeout_s=connect_timeout_s)
    except Exception as error:
        return [unreachable(error)]
    try:
        async with asyncio.timeout(connect_timeout_s):
            (row,) = await driver.fetch(_ASK)
            server = Server(**row)
            round_trip_ms, ahead_s = await _timed(driver)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        return [unreachable(error)]
    finally:
        driver.terminate()
    return [
        reached(server, round_trip_ms=round_trip_ms),
        *connection_limits(server, connections=connections, budget=connections_budget),
        transactions(server),
        durability(server),
        clocks(ahead_s),
        await _migrations(dsn),
    ]


async def _connect(dsn: str, *, timeout_s: float) -> Driver:
    """Connect as a pool does; where there is no primary, to whatever there is, so that it can be told."""
    settings = {"application_name": "tidegate doctor"}
    try:
        return await asyncpg.connect(
            dsn, timeout=timeout_s, server_settings=settings, target_session_attrs=SessionAttribute.primary
        )
    except asyncpg.TargetServerAttributeNotMatched:
        return await asyncpg.connect(dsn, timeout=timeout_s, server_settings=settings)


async def _timed(driver: Driver) -> tuple[float, float]:
    """How long a round trip takes, in milliseconds, and how far our clock is ahead of the server's, in seconds."""
    took_ms, ahead_s = [], []
    for _ in range(_ROUND_TRIPS):
        asked_at, started_at = datetime.now(UTC), time.perf_counter()
        theirs = await driver.fetchval("SELECT clock_timestamp()")
        took_s = time.perf_counter() - started_at
        took_ms.append(took_s * 1_000)
        ahead_s.append((asked_at - theirs).total_seconds() + took_s / 2)
    return median(took_ms), median(ahead_s)


def unreachable(error: Exception) -> Finding:
    """Why the primary cannot be asked. Never the driver's own words: they may quote what it could not read."""
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return wrong(
                Matter.DATABASE,
                "PostgreSQL does not let this role in, or not with this password, from here",
                "correct TIDEGATE_PRIMARY_DSN, or pg_hba.conf; the server's log says which of them it is",
            )
        case asyncpg.InvalidCatalogNameError():
            return wrong(Matter.DATABASE, "there is no database of that name", "create it, or correct TIDEGATE_PRIMARY_DSN")
        case asyncpg.TooManyConnectionsError():
            return wrong(
                Matter.DATABASE, "all connections are taken", "raise max_connections, or end those that nobody needs"
            )
        case asyncpg.CannotConnectNowError():
            return wrong(Matter.DATABASE, "PostgreSQL is starting, stopping or recovering", "try again in a moment")
        case TimeoutError():
            return wrong(
                Matter.DATABASE, "no answer in time", "is its host up, and does a firewall drop the way to its port?"
            )
        case OSError():
            return wrong(Matter.DATABASE, f"no way to it ({_reason(error)})", "start it, or correct TIDEGATE_PRIMARY_DSN")
        case _:
            return wrong(
                Matter.DATABASE,
                f"it cannot be asked ({type(error).__name__})",
                "start it, or correct TIDEGATE_PRIMARY_DSN",
            )


def _reason(error: OSError) -> str:
    """The system's words; those of the event loop hold the address."""
    known = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
    return (known or type(error).__name__).lower()


def reached(server: Server, *, round_trip_ms: float) -> Finding:
    """Whether it is one that Tidegate can work with."""
    role = "a standby" if server.is_standby else "the primary"
    says = f"PostgreSQL {server.version.split()[0]}, {role}, {round_trip_ms:.1f} ms a round trip"
    if server.is_standby:
        return wrong(
            Matter.DATABASE, f"{says}: it takes no writes", "name the primary in TIDEGATE_PRIMARY_DSN, or promote this one"
        )
    if server.major < VERSION_MIN:
        return wrong(Matter.DATABASE, says, f"Tidegate needs PostgreSQL {VERSION_MIN} or newer")
    if server.encoding != "UTF8":
        return wrong(
            Matter.DATABASE,
            f"{says}; its texts are {server.encoding}, which has no room for everybody's name",
            "create the database with ENCODING 'UTF8'",
        )
    if server.major > VERSION_MAX:
        return warning(
            Matter.DATABASE,
            says,
            f"Tidegate is tested with PostgreSQL {VERSION_MIN} to {VERSION_MAX}; look for a newer one",
        )
    if round_trip_ms > _ROUND_TRIP_MS_MAX:
        return warning(
            Matter.DATABASE,
            f"{says}: each login waits for several",
            "run the API where the primary is, or measure when idle",
        )
    return ok(Matter.DATABASE, says)


def connection_limits(server: Server, *, connections: int, budget: int) -> list[Finding]:
    """Whether it has room for this node's connections.

    Args:
        server: As asked.
        connections: That the API processes of this node hold together.
        budget: That they may hold, by the settings.
    """
    free_to_all = server.connections_max - server.reserved
    others = server.taken - server.ours
    says = (
        f"this node takes {connections}; max_connections is {server.connections_max}, {server.reserved} of it reserved; "
        f"taken now: {server.ours} by Tidegate, {others} by others"
    )
    if connections + _CONNECTIONS_BESIDE > free_to_all - others:
        return [
            wrong(
                Matter.CONNECTIONS,
                says,
                "raise max_connections, or lower TIDEGATE_DATABASE_CONNECTIONS or TIDEGATE_API_PROCESSES",
            )
        ]
    if budget > free_to_all:
        return [
            warning(
                Matter.CONNECTIONS,
                f"{says}; TIDEGATE_DATABASE_CONNECTIONS_BUDGET {budget} is more than there are",
                f"set it to {free_to_all - _CONNECTIONS_BESIDE} or less; nodes that use one primary share that",
            )
        ]
    return [ok(Matter.CONNECTIONS, says)]


def transactions(server: Server) -> Finding:
    """Whether one stands that others may wait for: the lines of campaigns wait for all that write (ADR 0027)."""
    if server.writes_for_s is not None and server.writes_for_s > _WRITES_FOR_S_MAX:
        return warning(
            Matter.TRANSACTIONS,
            f"one of {server.writer_name or 'somebody'!r} has held rows for {server.writes_for_s:.0f} s: "
            "whoever needs them waits, and campaigns stand still",
            f"if it is no import, end it: SELECT pg_terminate_backend({server.writer})",
        )
    return ok(Matter.TRANSACTIONS, f"none that holds rows has stood for {_WRITES_FOR_S_MAX:.0f} s")


def durability(server: Server) -> Finding:
    """Whether what it acknowledges survives a crash (promise P1)."""
    lost = [
        f"{name}=off"
        for name, is_off in (
            ("fsync", not server.is_fsync),
            ("synchronous_commit", server.synchronous_commit == "off"),
            ("full_page_writes", not server.is_full_page_writes),
        )
        if is_off
    ]
    if lost:
        return wrong(
            Matter.DURABILITY,
            f"{', '.join(lost)}: a crash of the primary may lose registrations that were acknowledged",
            "set them to on, for the server, the database and the role",
        )
    return ok(Matter.DURABILITY, f"fsync and full_page_writes are on, synchronous_commit is {server.synchronous_commit}")


def clocks(ahead_s: float) -> Finding:
    """Whether our clock and the server's agree."""
    if abs(ahead_s) > _CLOCK_DIFFERENCE_S_MAX:
        side = "ahead of" if ahead_s > 0 else "behind"
        return warning(
            Matter.CLOCK,
            f"{abs(ahead_s):.1f} s {side} the primary's, by which sessions go, and beyond 2 s tokens too",
            "let chrony or systemd-timesyncd keep both",
        )
    return ok(Matter.CLOCK, f"within {_CLOCK_DIFFERENCE_S_MAX:g} s of the primary's")


async def _migrations(dsn: str) -> Finding:
    runner = Runner(dsn)
    try:
        await runner.check()
        statuses = await runner.status()
    except SchemaOlderThanProgram as older:
        return wrong(Matter.MIGRATIONS, f"the database lacks {', '.join(older.versions)}", "tidegate migrate up")
    except SchemaNewerThanProgram as newer:
        return wrong(
            Matter.MIGRATIONS,
            f"the database has {', '.join(newer.versions)}, which this program does not know",
            "start a newer Tidegate",
        )
    except (MigrationError, DatabaseUnavailable) as error:
        return wrong(Matter.MIGRATIONS, f"they cannot be read ({type(error).__name__})", "tidegate migrate status")
    except asyncpg.InsufficientPrivilegeError:
        return wrong(
            Matter.MIGRATIONS,
            "this role may not read schema_migrations",
            "GRANT SELECT on it, or let its owner run Tidegate",
        )
    return ok(Matter.MIGRATIONS, f"all {len(statuses)} applied")
