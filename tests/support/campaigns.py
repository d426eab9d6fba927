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
