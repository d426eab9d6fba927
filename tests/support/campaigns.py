"""Campaigns and who takes part, put into the tables at once: what many tests begin with."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

CODE = "spring"


async def make_campaign(
    outside: "asyncpg.Connection[asyncpg.Record]", *, code: str = CODE, cap: int = 3, **other: Any
) -> UUID:
    """A campaign that is open; *other* are columns."""
    now = datetime.now(UTC)
    columns: dict[str, Any] = {
        "campaign_id": uuid4(),
        "code": code,
        "name": "Spring",
        "opens_at": now - timedelta(hours=1),
        "closes_at": now + timedelta(hours=1),
        "cap": cap,
        "percent": 15,
        "coupon_days": 30,
        "rank_by": "login",
        "passes_on": False,
        "state": "active",
    } | other
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    await outside.execute(f"INSERT INTO campaigns ({', '.join(columns)}) VALUES ({places})", *columns.values())
    made: UUID = columns["campaign_id"]
    return made


async def enter(outside: "asyncpg.Connection[asyncpg.Record]", campaign: UUID, count: int) -> list[UUID]:
    """So many users who have registered through *campaign*, in order."""
    users = [uuid4() for _ in range(count)]
    await outside.execute(
        "INSERT INTO users (userid, username, password)"
        " SELECT userid, 'u' || userid, '$argon2id$' FROM unnest($1::uuid[]) AS userid",
        users,
    )
    await outside.execute(
        "INSERT INTO entrants (user_id, campaign_id)"
        " SELECT user_id, $2 FROM unnest($1::uuid[]) WITH ORDINALITY AS u (user_id, n) ORDER BY n",
        users,
        campaign,
    )
    return users


async def log_in(outside: "asyncpg.Connection[asyncpg.Record]", users: Sequence[UUID]) -> list[int]:
    """What logins of *users* leave, in order; the ids of their jobs."""
    rows = await outside.fetch(
        "INSERT INTO jobs (kind, user_id) SELECT 'login_succeeded', user_id"
        " FROM unnest($1::uuid[]) WITH ORDINALITY AS u (user_id, n) ORDER BY n RETURNING job_id",
        users,
    )
    return [row["job_id"] for row in rows]


async def winners(outside: "asyncpg.Connection[asyncpg.Record]", campaign: UUID) -> list[UUID]:
    """Whose coupons were granted, by their place in the line."""
    rows = await outside.fetch(
        "SELECT user_id FROM grants WHERE campaign_id = $1 AND state = 'granted' ORDER BY rank", campaign
    )
    return [row["user_id"] for row in rows]


async def give_coupon(
    outside: "asyncpg.Connection[asyncpg.Record]", campaign: UUID, user_id: UUID, code: str, *, days: int = 30
) -> UUID:
    """What a worker makes of a place: the coupon *code*, granted to *user_id* and mirrored."""
    couponid = uuid4()
    await outside.execute(
        "INSERT INTO coupons (couponid, code, discount, expiration_date)"
        " SELECT $2, $3, percent, (now() AT TIME ZONE 'utc')::date + $4::int FROM campaigns WHERE campaign_id = $1",
        campaign,
        couponid,
        code,
        days,
    )
    await outside.execute(
        "INSERT INTO grants (campaign_id, user_id, rank, state, couponid, granted_at)"
        " SELECT $1, $2, entrant_id, 'granted', $3, now() FROM entrants WHERE user_id = $2",
        campaign,
        user_id,
        couponid,
    )
    await outside.execute("UPDATE users SET discount = array_append(discount, $2) WHERE userid = $1", user_id, couponid)
    return couponid
