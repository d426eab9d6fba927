"""A worker killed in the middle of granting has granted nothing, or all: at each statement that writes, and in its commit.

Triggers hold the transaction up at each step; there its process gets a real kill -9. What begins and ends a round without
having written anything is in `test_coupons.py`.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from tests.integration.storage.worlds import bystander, until
from tests.support.campaigns import enter, log_in, make_campaign, winners

_LOCK: Final = 8_800
"""The first half of the names of advisory locks that are nobody else's."""

STEPS: Final = (
    "BEFORE INSERT ON coupons",
    "AFTER INSERT ON coupons",
    "BEFORE INSERT ON grants",
    "BEFORE UPDATE ON campaigns",
    "AFTER INSERT ON grants",
    "BEFORE UPDATE OF discount ON users",
    "AFTER UPDATE OF discount ON users",
    "BEFORE INSERT ON jobs",
    "AFTER INSERT ON jobs",
)
"""In the order in which a round comes to them."""

AT_COMMIT: Final = len(STEPS)


async def hold_up_at_each_step(outside: "asyncpg.Connection[asyncpg.Record]") -> None:
    """From now on whoever holds the lock of a step stops whoever comes to it."""
    await outside.execute(
        "CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" PERFORM pg_advisory_xact_lock_shared({_LOCK}, tg_argv[0]::int); RETURN NULL; END $$"
    )
    for number, step in enumerate(STEPS):
        await outside.execute(f"CREATE TRIGGER zz_{number} {step} FOR EACH STATEMENT EXECUTE FUNCTION hold_up('{number}')")
    await outside.execute(
        "CREATE CONSTRAINT TRIGGER zz_commit AFTER INSERT ON coupons DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW EXECUTE FUNCTION hold_up('{AT_COMMIT}')"
    )


@contextmanager
def worker(database: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tidegate worker` without a queue, killed at the end."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "TIDEGATE_PRIMARY_DSN": database,
        "TIDEGATE_SIGNING_KEYS_FILE": str(folder / "keys.json"),
        "TIDEGATE_REFRESH_MAC_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "TIDEGATE_LOG_FILE": str(folder / "worker.log"),
        "TIDEGATE_WORKER_POLL_INTERVAL_MS": "20",
    }
    started = subprocess.Popen([sys.executable, "-m", "tidegate", "worker"], env=environment, cwd=folder)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


async def kill_at(outside: "asyncpg.Connection[asyncpg.Record]", step: int, database: str, folder: Path) -> None:
    """Let a worker come as far as *step*, kill it there, and wait until its transaction has ended."""
    held_up = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = {_LOCK} AND NOT granted"
    await outside.execute("SELECT pg_advisory_lock($1, $2)", _LOCK, step)
    with worker(database, folder):

        async def is_there() -> bool:
            return await outside.fetchval(held_up) is not None

        await until(is_there)
        pid = await outside.fetchval(held_up)
    await outside.execute("SELECT pg_advisory_unlock($1, $2)", _LOCK, step)

    async def is_gone() -> bool:
        return await outside.fetchval("SELECT pid FROM pg_stat_activity WHERE pid = $1", pid) is None

    await until(is_gone)


async def counts(outside: "asyncpg.Connection[asyncpg.Record]", campaign: UUID) -> tuple[int, ...]:
    """Coupons, grants, what the campaign counts, what users show, what the audit is told."""
    row = await outside.fetchrow(
        "SELECT (SELECT count(*) FROM coupons), (SELECT count(*) FROM grants),"
        " (SELECT issued FROM campaigns WHERE campaign_id = $1),"
        " (SELECT count(*) FROM users WHERE cardinality(discount) > 0),"
        " (SELECT count(*) FROM jobs WHERE kind = 'coupon_granted')"
        " + (SELECT count(*) FROM audit WHERE event = 'coupon_granted')",
        campaign,
    )
    assert row is not None
    return tuple(row)


async def kill_at_each(steps: Sequence[int], database: str, folder: Path) -> None:
    """Kill one worker after the other, each in the middle of granting the same; the last when the primary commits."""
    async with bystander(database) as outside:
        campaign = await make_campaign(outside, cap=2)
        users = await enter(outside, campaign, 3)
        await log_in(outside, users)
        await hold_up_at_each_step(outside)
        for step in steps:
            await kill_at(outside, step, database, folder)
            assert await counts(outside, campaign) == (0,) * 5, STEPS[step]
        await kill_at(outside, AT_COMMIT, database, folder)
        assert await counts(outside, campaign) == (2,) * 5  # the primary had been told to commit
        assert await winners(outside, campaign) == users[:2]


def test_a_worker_killed_between_coupon_and_grant_has_granted_nothing_and_one_killed_in_its_commit_all(
    database: str, tmp_path: Path
) -> None:
    asyncio.run(kill_at_each([STEPS.index("AFTER INSERT ON coupons")], database, tmp_path))


@pytest.mark.full
def test_a_worker_killed_at_any_step_has_granted_nothing_or_all(database: str, tmp_path: Path) -> None:
    asyncio.run(kill_at_each(range(len(STEPS)), database, tmp_path))
