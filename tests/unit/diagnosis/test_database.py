"""What a server says of itself becomes a verdict, and no word of the driver's comes through."""

import dataclasses
import errno
import os
import socket
from typing import Any

import asyncpg
import pytest

from tidegate.diagnosis.database import (
    VERSION_MAX,
    VERSION_MIN,
    Server,
    clocks,
    connection_limits,
    durability,
    reached,
    transactions,
    unreachable,
)
from tidegate.diagnosis.findings import Verdict

SERVER = Server(
    version="18.1 (Debian 18.1-1)",
    major=18,
    is_standby=False,
    connections_max=100,
    reserved=3,
    taken=20,
    ours=18,
    is_fsync=True,
    synchronous_commit="on",
    is_full_page_writes=True,
    encoding="UTF8",
    writer=None,
    writer_name=None,
    writes_for_s=None,
)


def verdict_of(**said: Any) -> Verdict:
    return reached(dataclasses.replace(SERVER, **said), round_trip_ms=0.2).verdict


def test_a_primary_of_a_version_that_is_tested_is_right() -> None:
    finding = reached(SERVER, round_trip_ms=0.2)
    assert finding.verdict is Verdict.OK
    assert finding.says == "PostgreSQL 18.1, the primary, 0.2 ms a round trip"


def test_what_tidegate_cannot_work_with_is_wrong() -> None:
    assert verdict_of(is_standby=True) is Verdict.WRONG
    assert verdict_of(major=VERSION_MIN - 1) is Verdict.WRONG
    assert verdict_of(encoding="SQL_ASCII") is Verdict.WRONG
    assert verdict_of(major=VERSION_MIN) is Verdict.OK


def test_what_is_not_tested_or_slow_is_a_warning() -> None:
    assert verdict_of(major=VERSION_MAX + 1) is Verdict.WARNING
    assert reached(SERVER, round_trip_ms=5.1).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("connections", "budget", "verdict"),
    [
        (92, 97, Verdict.OK),  # 97 are not reserved, 2 are others', and 3 are to spare
        (93, 97, Verdict.WRONG),
        (18, 98, Verdict.WARNING),
    ],
)
def test_connections_are_counted_against_what_there_is(connections: int, budget: int, verdict: Verdict) -> None:
    (finding,) = connection_limits(SERVER, connections=connections, budget=budget)
    assert finding.verdict is verdict


@pytest.mark.parametrize(("writes_for_s", "verdict"), [(None, Verdict.OK), (30.0, Verdict.OK), (85.4, Verdict.WARNING)])
def test_a_transaction_that_holds_rows_for_long_is_named(writes_for_s: float | None, verdict: Verdict) -> None:
    finding = transactions(dataclasses.replace(SERVER, writer=4711, writer_name="psql", writes_for_s=writes_for_s))
    assert finding.verdict is verdict
    assert ("pg_terminate_backend(4711)" in finding.advice) == (verdict is Verdict.WARNING)
    assert ("'psql' has held rows for 85 s" in finding.says) == (verdict is Verdict.WARNING)


def test_our_own_connections_of_now_are_not_counted_twice() -> None:
    busy = dataclasses.replace(SERVER, taken=92, ours=90)
    assert connection_limits(busy, connections=90, budget=90)[0].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"is_fsync": False}, "fsync=off"),
        ({"synchronous_commit": "off"}, "synchronous_commit=off"),
        ({"is_full_page_writes": False}, "full_page_writes=off"),
    ],
)
def test_what_may_lose_an_acknowledged_registration_is_wrong(said: dict[str, Any], name: str) -> None:
    finding = durability(dataclasses.replace(SERVER, **said))
    assert finding.verdict is Verdict.WRONG
    assert name in finding.says


@pytest.mark.parametrize("commit", ["on", "local", "remote_write", "remote_apply"])
def test_a_commit_that_waits_for_the_disk_is_right(commit: str) -> None:
    assert durability(dataclasses.replace(SERVER, synchronous_commit=commit)).verdict is Verdict.OK


@pytest.mark.parametrize(("ahead_s", "word"), [(1.1, "1.1 s ahead of"), (-7.0, "7.0 s behind")])
def test_a_clock_that_differs_is_told(ahead_s: float, word: str) -> None:
    finding = clocks(ahead_s)
    assert finding.verdict is Verdict.WARNING
    assert word in finding.says
    assert clocks(0.9).verdict is clocks(-0.9).verdict is Verdict.OK


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (asyncpg.InvalidPasswordError(SECRET), "not with this password"),
        (asyncpg.InvalidAuthorizationSpecificationError(SECRET), "does not let this role in"),
        (asyncpg.InvalidCatalogNameError(SECRET), "no database of that name"),
        (asyncpg.TooManyConnectionsError(SECRET), "all connections are taken"),
        (asyncpg.CannotConnectNowError(SECRET), "starting"),
        (TimeoutError(SECRET), "no answer in time"),
        (ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed ({SECRET})"), "(connection refused)"),
        (FileNotFoundError(errno.ENOENT, SECRET), f"({os.strerror(errno.ENOENT).lower()})"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "(name or service not known)"),
        (OSError(SECRET), "(oserror)"),
        (asyncpg.InternalServerError(SECRET), "(InternalServerError)"),
        (ValueError(SECRET), "(ValueError)"),
    ],
)
def test_every_way_not_to_reach_it_has_words_of_its_own_and_none_of_the_drivers(error: Exception, words: str) -> None:
    finding = unreachable(error)
    assert finding.verdict is Verdict.WRONG
    assert finding.advice
    assert words in finding.says
    assert SECRET not in f"{finding.says} {finding.advice}"
