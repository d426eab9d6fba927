"""Measures what a login, a registration, a refresh and a look at a profile cost each part, on a node that it starts."""

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import msgspec
from bench import node
from bench.command import commit
from bench.field import Field, Load
from bench.ground import Ground
from bench.processes import machine
from bench.turns import Window
from dotenv import dotenv_values

SECONDS: Final = 10.0
"""Of each window: a login is half of the load that a node of two cores can bear in it."""

USERS: Final = 20_000
CONNECTIONS: Final = 64

_REST_S_MAX: Final = 60.0
_STATISTICS_S: Final = 1.5
"""PostgreSQL's processes tell their counters at most once a second."""

_COUNTERS: Final = """\
SELECT (SELECT wal_bytes FROM pg_stat_wal)::float8 AS wal_bytes,
       (SELECT sum(xact_commit) FROM pg_stat_database)::float8 AS commits,
       (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'sessions')::float8 AS login,
       (SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'users')::float8 AS register,
       (SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sessions')::float8 AS refresh"""

_LEFT: Final = "SELECT count(*) AS left FROM jobs"

_SIZES: Final = """\
SELECT pg_total_relation_size('users')::float8 / (SELECT greatest(count(*), 1) FROM users) AS user_bytes,
       pg_total_relation_size('sessions')::float8 / (SELECT greatest(count(*), 1) FROM sessions) AS session_bytes"""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one call costs, whatever follows from it in the worker included.

    Attributes:
        hash_ms: CPU time of the hash threads.
        node_ms: CPU time of the node beside them.
        primary_ms: CPU time of PostgreSQL.
        wal_bytes: That PostgreSQL writes; its first touch of a page after a checkpoint writes the whole page.
        commits: Of transactions; less than one where many calls share one.
        cache_commands: That Valkey runs.
    """

    hash_ms: float
    node_ms: float
    primary_ms: float
    wal_bytes: float
    commits: float
    cache_commands: float


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a fleet is reckoned from.

    Attributes:
        commit: Of the code.
        machine: See `processes.machine`.
        calls: By name.
        user_bytes: A row of users takes, with its indexes.
        session_bytes: A row of sessions, with its indexes.
        node_mib: Memory of the node at the end.
    """

    commit: str
    machine: dict[str, str | int]
    calls: dict[str, Cost]
    user_bytes: float
    session_bytes: float
    node_mib: float


class Reading(NamedTuple):
    """Counters since the servers started; the calls that leave rows are counted by their rows."""

    wal_bytes: float
    commits: float
    cache_commands: float
    login: float
    register: float
    refresh: float


def measure() -> Costs:
    """Drive each call for `SECONDS` and see what that took.

    Raises:
        CannotMeasureError: See `bench.command.measure`.
    """
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-", ignore_cleanup_errors=True) as path:
        folder = Path(path)
        with node.started(folder, users=USERS) as (service, ground):
            field = Field(ground, {service.name: service}, seconds=SECONDS, tell=_say)
            calls: dict[str, Cost] = {}
            for call in ("login", "register", "refresh", "me"):
                before = _read(ground, folder)
                window = field.drive(node.OURS, [Load(call, CONNECTIONS)])
                calls[call] = cost_of(call, window, before, _read(ground, folder), calls)
            sizes = asyncio.run(_row(ground.dsn, _SIZES))
    return Costs(
        commit=commit(),
        machine=machine(),
        calls=calls,
        user_bytes=sizes["user_bytes"],
        session_bytes=sizes["session_bytes"],
        node_mib=window.pss_mib,
    )


def cost_of(call: str, window: Window, before: Reading, after: Reading, known: Mapping[str, Cost]) -> Cost:
    """What one *call* cost: CPU time in the window, everything else from the counters around it.

    The counters also hold the warming up and, for calls with a token, the logins that the tokens came from.

    Args:
        call: Its name.
        window: In which it alone was driven.
        before: What had been counted before the driver came.
        after: What had been counted when everything that follows was done.
        known: What other calls cost, for those that came along.
    """
    answers = window.good(call)
    counts = {name: getattr(after, name) - getattr(before, name) for name in ("login", "register", "refresh")}
    made: float = counts.pop(call, answers)

    def each(counter: str) -> float:
        spent: float = getattr(after, counter) - getattr(before, counter)
        others: float = sum(getattr(known[name], counter) * count for name, count in counts.items() if name in known)
        return max(0.0, (spent - others) / made)

    return Cost(
        hash_ms=window.cpu_s["hashing"] * 1_000 / answers,
        node_ms=(window.cpu_s["node"] - window.cpu_s["hashing"]) * 1_000 / answers,
        primary_ms=window.cpu_s["postgres"] * 1_000 / answers,
        wal_bytes=each("wal_bytes"),
        commits=each("commits"),
        cache_commands=each("cache_commands"),
    )


def _read(ground: Ground, folder: Path) -> Reading:
    """Read all counters, once the worker has done what the calls before left it."""
    ends_at = time.monotonic() + _REST_S_MAX
    while asyncio.run(_row(ground.dsn, _LEFT))["left"] and time.monotonic() < ends_at:
        time.sleep(0.2)
    time.sleep(_STATISTICS_S)
    counted = asyncio.run(_row(ground.dsn, _COUNTERS))
    url = dotenv_values(folder / "data" / "tidegate.env")["TIDEGATE_CACHE_URL"] or ""
    return Reading(**counted, cache_commands=_cache_commands(urlsplit(url).path))


async def _row(dsn: str, statement: str) -> dict[str, float]:
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(statement)
    finally:
        await connection.close()
    assert row is not None  # none of the statements has a WHERE
    return dict(row)


def _cache_commands(path: str) -> float:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(path)
        asking.sendall(b"INFO stats\r\n")
        told = asking.recv(65_536).decode()
    return float(told.partition("total_commands_processed:")[2].partition("\r")[0])


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
