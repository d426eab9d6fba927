"""What is asked by key is looked up by an index from the first call on, though the database began empty."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.storage.worlds import bystander, opened_pool
from tests.support.campaigns import enter, make_campaign
from tidegate.storage.statements import statements

GROWING = {"audit", "changes", "coupons", "entrants", "grants", "idempotency_keys", "jobs", "sessions", "users"}

HOT = [
    "claim_jobs",
    "find_users_by_email",
    "find_users_by_phone_number",
    "find_users_by_username",
    "judge_stale_generation",
    "live_session",
    "live_sessions_of_user",
    "lock_winners",
    "mirror_coupons",
    "note_first_logins",
    "open_session",
    "open_sessions",
    "participations",
    "record_audit",
    "record_last_logins",
    "remove_jobs",
    "rotate_session",
    "rotate_sessions",
    "take_jobs",
    "user_credentials",
    "user_profiles",
    "users_among",
]

SESSIONS = (
    "INSERT INTO sessions (session_id, user_id, idle_expires_at, absolute_expires_at, cleanup_due_at)"
    " SELECT gen_random_uuid(), userid, due, due, due FROM users, LATERAL (SELECT now() + interval '1 hour' AS due) AS hour"
)
COUPONS = "INSERT INTO coupons (couponid, code, discount) SELECT userid, username, 15 FROM users LIMIT 60"
GRANTS = (
    "INSERT INTO grants (campaign_id, user_id, rank, state, couponid, granted_at)"
    " SELECT campaign_id, userid, row_number() OVER (), 'granted', couponid, now()"
    " FROM coupons JOIN users ON userid = couponid JOIN entrants ON user_id = userid"
)


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes_of(each)


def whole_tables_of(plan: dict[str, Any]) -> Iterator[str]:
    """The tables of which a plan reads every row."""
    for node in nodes_of(plan):
        is_whole = node["Node Type"] == "Seq Scan" or (
            node["Node Type"] in {"Index Scan", "Index Only Scan", "Bitmap Index Scan"} and "Index Cond" not in node
        )
        if is_whole and (table := node.get("Relation Name") or node["Index Name"].partition("_")[0]) in GROWING:
            yield table


@pytest.mark.parametrize("is_analysed", [False, True], ids=["empty", "small and analysed"])
def test_no_plan_walks_through_a_table_that_may_grow_under_it(database: str, is_analysed: bool) -> None:
    """A generic plan stands until the table is analysed again; a crowd is there sooner (ADR 0032)."""

    async def story() -> dict[str, list[str]]:
        async with bystander(database) as outside:
            if is_analysed:
                await enter(outside, await make_campaign(outside, cap=100), 300)
                await outside.execute(f"{SESSIONS}; {COUPONS}; {GRANTS}; ANALYZE")
        found = {}
        async with opened_pool(database, size=1) as pool:
            driver = pool._free[0]._driver
            await driver.execute("SET plan_cache_mode = force_generic_plan")
            for name in HOT:
                text = statements()[name]
                values = ["NULL"] * max([0, *map(int, re.findall(r"\$(\d+)", text))])
                await driver.execute(f"PREPARE asked AS {text}")
                (row,) = await driver.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE asked ({', '.join(values)})")
                await driver.execute("DEALLOCATE asked")
                whole = list(whole_tables_of(json.loads(row[0])[0]["Plan"]))
                if whole:
                    found[name] = whole
        return found

    assert asyncio.run(story()) == {}
