"""Who logs in: a crowd that takes part in a campaign, and one as large that does not, put into the tables at once."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import asyncpg
from bench.campaign.cheap_profile import CHEAP
from bench.dialect import PASSWORD, TIDEGATE, Dialect, form
from bench.orders import NUMBER_DIGITS

from tidegate.config import PREFIX
from tidegate.passwords.notations.argon2 import hash_argon2id

ENTRANT: Final = "entrant"
PLAIN: Final = "plain"

ASKERS: Final = 100
"""Entrants beyond the number that was asked for, whom no driver knows (`winners.Winners`)."""

_FOLDER: Final = Path(__file__).parent
_HASHES: Final = 256

_COPY: Final = f"""\
INSERT INTO users (userid, username, email, password, full_name, discount)
SELECT gen_random_uuid(), $1 || name, $1 || name || '@example.com', ($2::text[])[1 + number % $4],
       'Load User ' || number, '{{}}'
FROM generate_series(1, $3::bigint) AS number, LATERAL (SELECT lpad(number::text, {NUMBER_DIGITS}, '0') AS name) AS names"""

_ENTER: Final = """\
INSERT INTO entrants (user_id, campaign_id)
SELECT userid, $1 FROM users WHERE username COLLATE "C" BETWEEN $2 AND $2 || 'a' ORDER BY username"""

_MAKE: Final = """\
INSERT INTO campaigns
    (campaign_id, code, name, opens_at, closes_at, cap, percent, coupon_days, rank_by, passes_on, state, issued)
VALUES ($1, $2, 'Bench', $3, $4, $5, 10, 30, 'login', false, $6, $7)"""


def environment() -> dict[str, str]:
    """Return what makes a Tidegate hash by `CHEAP`, and take such hashes for current: else each login would hash anew."""
    paths = [str(_FOLDER / "cheap"), str(_FOLDER.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths)), f"{PREFIX}HASH_PROFILE": CHEAP.name}


def dialect_of(crowd: str) -> Dialect:
    """How the users of *crowd* log in."""
    return replace(TIDEGATE, login=form("/login", {"username": crowd + "{number}", "password": PASSWORD}))


def name_of(crowd: str, number: int) -> str:
    """The username of user *number* of *crowd*, from 1."""
    return f"{crowd}{number:0{NUMBER_DIGITS}d}"


async def fill(dsn: str, users: int) -> None:
    """Make both crowds, each of so many *users*, who all have the password of the `dialect`, and the askers.

    The entrants are in a campaign that does not exist.
    """
    copied = [hash_argon2id(PASSWORD.encode(), CHEAP) for _ in range(_HASHES)]
    connection = await asyncpg.connect(dsn)
    try:
        for crowd, count in ((PLAIN, users), (ENTRANT, users + ASKERS)):
            await connection.execute(_COPY, crowd, copied, count, _HASHES)
        await connection.execute(_ENTER, uuid4(), ENTRANT)
        await connection.execute("VACUUM (ANALYZE) users, entrants")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def enter_campaign(dsn: str, *, cap: int, state: str = "active", issued: int = 0, are_noted: bool = False) -> UUID:
    """Let the entrants be those of a new campaign, into which none has logged in yet.

    Args:
        dsn: Of the primary.
        cap: How many coupons it has.
        state: Of the campaign.
        issued: How many are gone already.
        are_noted: Whether all of them have logged in, one after the other, and are waiting.
    """
    campaign, now = uuid4(), datetime.now(UTC)
    connection = await asyncpg.connect(dsn)
    try:
        window = now - timedelta(hours=1), now + timedelta(hours=1)
        await connection.execute(_MAKE, campaign, f"bench-{campaign}", *window, cap, state, issued)
        job, at = ("nextval('jobs_job_id_seq')", "clock_timestamp()") if are_noted else ("NULL", "NULL")
        await connection.execute(f"UPDATE entrants SET campaign_id = $1, login_job = {job}, login_at = {at}", campaign)
        await connection.execute("VACUUM (ANALYZE) entrants")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return campaign


async def activate(dsn: str, campaign: UUID) -> None:
    """Let *campaign* be served from now on."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("UPDATE campaigns SET state = 'active' WHERE campaign_id = $1", campaign)
    finally:
        await connection.close()
