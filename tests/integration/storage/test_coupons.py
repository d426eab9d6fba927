"""Coupons in PostgreSQL keep the contract, and what users are told follows the grants alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.contract.coupons import CODE, RESERVATION_S, CouponsContract
from tests.integration.storage.worlds import PostgresWorld, bystander, opened_pool
from tests.support.campaigns import enter, give_coupon, make_campaign
from tidegate.domain.coupons import CouponState
from tidegate.domain.participation import CouponStatus, coupons_in
from tidegate.domain.users import ProfileChange
from tidegate.storage.coupons import PostgresCoupons
from tidegate.storage.pools import PrimaryPool


class World(PostgresWorld):
    """Coupons in one database, and what a test does around them."""

    def __init__(self, pool: PrimaryPool, outside: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(pool, outside)
        self.coupons = PostgresCoupons(pool, reservation_s=RESERVATION_S)

    async def grant(self, code: str) -> UUID:
        campaign = await make_campaign(self.outside, code=f"c-{uuid4()}")
        (user_id,) = await enter(self.outside, campaign, 1)
        await give_coupon(self.outside, campaign, user_id, code)
        return user_id

    async def void(self, code: str) -> None:
        await self.outside.execute(
            "UPDATE grants SET state = 'voided', voided_at = now(), void_reason = 'a test'"
            " FROM coupons WHERE coupons.couponid = grants.couponid AND code = $1",
            code,
        )

    async def set_last_day(self, code: str, *, days_ahead: int) -> None:
        await self.outside.execute(
            "UPDATE coupons SET expiration_date = (now() AT TIME ZONE 'utc')::date + $2::int WHERE code = $1",
            code,
            days_ahead,
        )

    async def let_pass(self, seconds: float) -> None:
        by = timedelta(seconds=seconds)
        await self.outside.execute("UPDATE grants SET reserved_until = reserved_until - $1::interval", by)

    async def told(self) -> list[str]:
        return [row["kind"] for row in await self.outside.fetch("SELECT kind FROM jobs ORDER BY job_id")]


@asynccontextmanager
async def opened_world(dsn: str) -> AsyncIterator[World]:
    async with opened_pool(dsn) as pool, bystander(dsn) as outside:
        yield World(pool, outside)


class TestPostgresCoupons(CouponsContract):
    dsn: str

    @pytest.fixture(autouse=True)
    def _database(self, database: str) -> None:
        self.dsn = database

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[World]:
        async with opened_world(self.dsn) as world:
            yield world


def test_what_somebody_writes_into_users_discount_decides_nothing(database: str) -> None:
    """Neither what is shown nor what may be redeemed: the column mirrors, the grants are the truth."""

    async def story() -> None:
        async with opened_world(database) as world:
            bob, ann = await world.grant(CODE), await world.grant("Ann's")
            await world.outside.execute("UPDATE users SET discount = NULL WHERE userid = $1", bob)
            await world.outside.execute(
                "UPDATE users SET discount = ARRAY(SELECT couponid FROM coupons) || gen_random_uuid() WHERE userid = $1",
                ann,
            )
            shown = {user: [each.code for each in coupons_in(await world.coupons.of_user(user))] for user in (bob, ann)}
            assert shown == {bob: [CODE], ann: ["Ann's"]}
            profiles = [await world.users.profile(user) for user in (bob, ann)]
            assert [[each.code for each in profile.coupons] for profile in profiles if profile] == [[CODE], ["Ann's"]]
            await world.coupons.redeem(bob, CODE)
            after = await world.users.profile(bob)
            assert after is not None
            assert [each.state for each in after.coupons] == [CouponState.REDEEMED]

    asyncio.run(story())


def test_a_change_of_profile_tells_the_coupons_too(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            bob = await world.grant(CODE)
            before = await world.users.profile(bob)
            assert before is not None
            assert await world.users.change_profile(bob, ProfileChange(full_name="Bob")) == replace(before, full_name="Bob")

    asyncio.run(story())


def test_days_end_by_utc_whatever_time_zone_the_server_keeps(database: str) -> None:
    """Kiritimati is 14 hours ahead: for more than half of a day UTC its date is another."""

    async def story() -> None:
        async with bystander(database) as outside:
            name = await outside.fetchval("SELECT current_database()")
            for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
                await outside.execute(f"ALTER DATABASE {name} SET timezone TO '{zone}'")
                async with opened_world(database) as world:
                    code = f"{CODE}-{zone}"
                    bob = await world.grant(code)
                    for days_ahead, state in ((0, CouponState.VALID), (-1, CouponState.EXPIRED), (1, CouponState.VALID)):
                        await world.set_last_day(code, days_ahead=days_ahead)
                        assert [each.state for each in coupons_in(await world.coupons.of_user(bob))] == [state]

    asyncio.run(story())


NOW = datetime.now(UTC)
HELD: dict[str, Any] = {"rank_by": "registration", "seat_hours": 2}


@pytest.mark.parametrize(
    ("campaign", "grant", "login_at", "status"),
    [
        ({}, None, None, CouponStatus.PENDING),
        ({"state": "paused"}, None, NOW, CouponStatus.PENDING),
        ({"state": "exhausted", "issued": 3}, None, NOW, CouponStatus.SOLD_OUT),
        ({"state": "ended", "ended_at": NOW}, None, None, CouponStatus.ENDED),
        ({"state": "ended", "ended_at": NOW}, None, NOW - timedelta(minutes=1), CouponStatus.PENDING),
        ({"state": "ended", "ended_at": NOW}, None, NOW + timedelta(minutes=1), CouponStatus.ENDED),
        ({"state": "ended", "ended_at": NOW - timedelta(days=2)}, None, NOW - timedelta(days=3), CouponStatus.ENDED),
        ({"state": "ended", "ended_at": NOW, "issued": 3}, None, NOW, CouponStatus.SOLD_OUT),
        (HELD, "held", None, CouponStatus.PENDING),
        (HELD, "lapsed", NOW, CouponStatus.LAPSED),
        (HELD | {"state": "ended", "ended_at": NOW}, "held", None, CouponStatus.ENDED),
    ],
)
def test_a_user_is_told_how_far_they_have_come(
    database: str, campaign: dict[str, Any], grant: str | None, login_at: datetime | None, status: CouponStatus
) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            made = await make_campaign(world.outside, **campaign)
            (bob,) = await enter(world.outside, made, 1)
            if login_at is not None:
                await world.outside.execute("UPDATE entrants SET login_job = 7, login_at = $1", login_at)
            if grant is not None:
                await world.outside.execute(
                    "INSERT INTO grants (campaign_id, user_id, rank, state, held_until) VALUES ($1, $2, 1, $3, $4)",
                    made,
                    bob,
                    grant,
                    NOW,
                )
            (shown,) = await world.coupons.of_user(bob)
            assert (shown.campaign, shown.status, shown.coupon) == ("spring", status, None)
            assert shown.held_until == (NOW if grant == "held" else None)

    asyncio.run(story())


def test_all_campaigns_but_drafts_are_shown_with_the_seats_that_are_left(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            await make_campaign(world.outside, cap=5, issued=2, held=1, percent=12.5)
            await make_campaign(world.outside, code="draft", state="draft")
            await make_campaign(world.outside, code="over", state="ended", ended_at=NOW)
            shown = {campaign.code: campaign for campaign in await world.coupons.shown()}
            assert set(shown) == {"spring", "over"}
            assert (shown["spring"].seats_left, str(shown["spring"].percent)) == (2, "12.50")

    asyncio.run(story())
