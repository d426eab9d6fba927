"""What an operator does to campaigns takes effect whole, is in the audit, and races with nobody."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.integration.storage.worlds import PostgresWorld, bystander, opened_world, until_waiting_or_done
from tests.integration.worker.test_coupons import granting
from tests.integration.worker.test_jobs import do_jobs, hands_of
from tests.support.campaigns import CODE, enter, log_in, make_campaign, winners
from tidegate.domain.campaign_steps import CampaignStep
from tidegate.domain.campaigns import CampaignState, GrantState, RankBy, Terms
from tidegate.domain.errors import (
    CampaignCodeTaken,
    CampaignStepRefused,
    CouponNotVoidable,
    InvalidRequest,
    UnknownCampaign,
    UnknownGrant,
)
from tidegate.storage.campaign_administration import PostgresCampaignAdministration
from tidegate.storage.statements import statements
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.administer_campaigns import AdministerCampaigns

BY = "cli:tester"
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def terms(**change: Any) -> Terms:
    known: dict[str, Any] = {
        "code": CODE,
        "name": "Spring",
        "opens_at": NOON,
        "closes_at": NOON + timedelta(hours=1),
        "cap": 2,
        "percent": Decimal("12.5"),
        "coupon_days": 30,
        "rank_by": RankBy.LOGIN,
        "seat_hours": None,
        "passes_on": True,
    }
    return Terms(**known | change)


def administering(world: PostgresWorld) -> AdministerCampaigns:
    return AdministerCampaigns(campaigns=PostgresCampaignAdministration(world.pool), ids=RandomIds())


async def grant(world: PostgresWorld) -> None:
    """One round of one worker."""
    await granting(world)()


async def told(world: PostgresWorld, kind: str) -> list[tuple[UUID, dict[str, Any]]]:
    """What the audit will be told, in order."""
    rows = await world.outside.fetch("SELECT user_id, detail FROM jobs WHERE kind = $1 ORDER BY job_id", kind)
    return [(row["user_id"], json.loads(row["detail"])) for row in rows]


async def seats_of(world: PostgresWorld, campaign: UUID) -> tuple[str, int, int]:
    row = await world.outside.fetchrow("SELECT state, issued, held FROM campaigns WHERE campaign_id = $1", campaign)
    assert row is not None
    return row["state"], row["issued"], row["held"]


async def mirror_of(world: PostgresWorld, user: UUID) -> list[UUID] | None:
    mirror: list[UUID] | None = await world.outside.fetchval("SELECT discount FROM users WHERE userid = $1", user)
    return mirror


async def granted(world: PostgresWorld, count: int, **columns: Any) -> tuple[UUID, list[UUID]]:
    """A campaign through which so many have come, of whom the first have their coupons."""
    campaign = await make_campaign(world.outside, **{"cap": 2, "passes_on": True} | columns)
    users = await enter(world.outside, campaign, count)
    await log_in(world.outside, users)
    await do_jobs(world)
    await grant(world)
    return campaign, users


def test_a_campaign_that_is_made_is_shown_as_it_was_made_and_the_audit_has_its_terms(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaigns = administering(world)
            made = await campaigns.create(terms(code="SPRING"), is_draft=True, by=BY)
            assert made.terms == terms()
            assert (made.state, made.free, made.ended_at) == (CampaignState.DRAFT, 2, None)
            held = terms(code="held", rank_by=RankBy.REGISTRATION, seat_hours=5, passes_on=False)
            other = await campaigns.create(held, is_draft=False, by=BY)
            assert (other.terms, other.state) == (held, CampaignState.ACTIVE)
            assert list(await campaigns.listed()) == [other, made]
            shown, counts = await campaigns.show("Spring")
            assert shown == made
            assert counts.registered == counts.granted == 0
            (first, detail), _ = await told(world, "campaign_changed")
            assert first == made.campaign_id
            assert (detail["step"], detail["to"], detail["by"], detail["cap"]) == ("create", "draft", BY, 2)
            await hands_of(world).work()
            events = await world.outside.fetch("SELECT user_id FROM audit WHERE event = 'campaign_changed' ORDER BY job_id")
            assert [row["user_id"] for row in events] == [made.campaign_id, other.campaign_id]

    asyncio.run(story())


def test_what_makes_no_campaign_or_has_anothers_code_leaves_nothing(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaigns = administering(world)
            await campaigns.create(terms(), is_draft=False, by=BY)
            with pytest.raises(CampaignCodeTaken):
                await campaigns.create(terms(cap=9), is_draft=False, by=BY)
            with pytest.raises(InvalidRequest, match="cap=out_of_range"):
                await campaigns.create(terms(code="other", cap=0), is_draft=False, by=BY)
            with pytest.raises(InvalidRequest, match="by=missing"):
                await campaigns.create(terms(code="other"), is_draft=False, by="")
            assert len(await campaigns.listed()) == 1
            assert len(await told(world, "campaign_changed")) == 1

    asyncio.run(story())


def test_a_campaign_goes_from_draft_to_its_end_and_the_audit_has_every_step(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaigns = administering(world)
            await campaigns.create(terms(), is_draft=True, by=BY)
            states = []
            for step in (CampaignStep.RESUME, CampaignStep.PAUSE, CampaignStep.RESUME, CampaignStep.END):
                moved = await campaigns.step(CODE, step, by=BY)
                assert moved == (await campaigns.show(CODE))[0]
                states.append(str(moved.state))
            assert states == ["active", "paused", "active", "ended"]
            assert moved.ended_at is not None
            with pytest.raises(CampaignStepRefused):
                await campaigns.step(CODE, CampaignStep.RESUME, by=BY)
            with pytest.raises(UnknownCampaign):
                await campaigns.step("other", CampaignStep.END, by=BY)
            steps = [
                (detail["step"], detail.get("from"), detail["to"]) for _, detail in await told(world, "campaign_changed")
            ]
            assert steps == [
                ("create", None, "draft"),
                ("resume", "draft", "active"),
                ("pause", "active", "paused"),
                ("resume", "paused", "active"),
                ("end", "active", "ended"),
            ]

    asyncio.run(story())


def test_while_paused_nobody_gets_a_coupon_and_who_logs_in_keeps_the_place(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaigns = administering(world)
            campaign = await make_campaign(world.outside, cap=2)
            first, second, third = await enter(world.outside, campaign, 3)
            await campaigns.step(CODE, CampaignStep.PAUSE, by=BY)
            await log_in(world.outside, [second])
            await do_jobs(world)
            await grant(world)
            assert await winners(world.outside, campaign) == []
            await campaigns.step(CODE, CampaignStep.RESUME, by=BY)
            await log_in(world.outside, [first, third])
            await do_jobs(world)
            await grant(world)
            assert await winners(world.outside, campaign) == [second, first]
            await campaigns.step(CODE, CampaignStep.PAUSE, by=BY)
            assert (await campaigns.step(CODE, CampaignStep.RESUME, by=BY)).state is CampaignState.EXHAUSTED

    asyncio.run(story())


@pytest.mark.parametrize("passes_on", [True, False])
def test_a_voided_coupon_is_gone_everywhere_and_its_seat_goes_to_the_next_if_it_passes_on(
    database: str, passes_on: bool
) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaigns = administering(world)
            campaign, (first, second, third) = await granted(world, 3, passes_on=passes_on)
            assert await winners(world.outside, campaign) == [first, second]
            coupon = await world.outside.fetchval("SELECT couponid FROM grants WHERE user_id = $1", first)
            foreign = uuid4()
            await world.outside.execute(
                "UPDATE users SET discount = discount || $1::uuid WHERE userid = $2", foreign, first
            )
            await world.outside.execute(
                "UPDATE grants SET reservation_id = gen_random_uuid(), reserved_until = now() + interval '1 h'"
            )
            voided = await campaigns.void(CODE, first, reason=" bought with a stolen card ", by=BY)
            assert (voided.couponid, voided.state) == (coupon, GrantState.RETURNED if passes_on else GrantState.VOIDED)
            assert await mirror_of(world, first) == [foreign]
            row = await world.outside.fetchrow("SELECT * FROM grants WHERE user_id = $1", first)
            assert row is not None
            assert (row["void_reason"], row["reservation_id"]) == ("bought with a stolen card", None)
            ((who, detail),) = await told(world, "coupon_voided")
            assert (who, detail["couponid"], detail["reason"], detail["by"]) == (first, str(coupon), row["void_reason"], BY)
            changed = await world.outside.fetchval(
                "SELECT count(*) FROM changes WHERE kind = 'profile_changed' AND subject_id = $1", first
            )
            assert changed == 3  # granted, reserved, voided
            await grant(world)
            assert await winners(world.outside, campaign) == ([second, third] if passes_on else [second])
            assert await seats_of(world, campaign) == ("exhausted", 2, 0)
            counts = (await campaigns.show(CODE))[1]
            assert (counts.voided, counts.returned, counts.granted) == (1, int(passes_on), 1 + passes_on)

    asyncio.run(story())


def test_a_coupon_is_voided_by_its_code_as_people_write_it_even_if_its_user_is_gone(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaigns = administering(world)
            campaign, (first, second) = await granted(world, 2)
            query = "SELECT code FROM coupons JOIN grants USING (couponid) WHERE user_id = $1"
            code = await world.outside.fetchval(query, first)
            await world.delete(first)
            typed = f"{code[:4]}-{code[4:8]}-{code[8:].lower()}"
            voided = await campaigns.void_coupon(typed, reason="sold", by=BY)
            assert (voided.user_id, voided.campaign) == (first, CODE)
            for wrong in ("", "A" * 17, code[:-1] + "0"):
                with pytest.raises(UnknownGrant):
                    await campaigns.void_coupon(wrong, reason="sold", by=BY)
            assert await winners(world.outside, campaign) == [second]

    asyncio.run(story())


def test_what_is_redeemed_voided_held_or_nobodys_is_not_voided(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaigns = administering(world)
            campaign, (first, second, third) = await granted(world, 3)
            await world.outside.execute("UPDATE grants SET redeemed_at = now() WHERE user_id = $1", first)
            await campaigns.void(CODE, second, reason="sold", by=BY)
            before = await seats_of(world, campaign)
            for user, because in ((first, "redeemed"), (second, "returned")):
                with pytest.raises(CouponNotVoidable) as refused:
                    await campaigns.void(CODE, user, reason="sold", by=BY)
                assert refused.value.because == because
            with pytest.raises(UnknownGrant):
                await campaigns.void(CODE, third, reason="sold", by=BY)
            with pytest.raises(UnknownCampaign):
                await campaigns.void("other", first, reason="sold", by=BY)
            assert await seats_of(world, campaign) == before
            assert len(await told(world, "coupon_voided")) == 1

    asyncio.run(story())


async def redeem(shop: "asyncpg.Connection[asyncpg.Record]", user: UUID) -> bool:
    """As a user does, in whatever transaction *shop* is in; whether it took place."""
    code = await shop.fetchval("SELECT code FROM coupons JOIN grants USING (couponid) WHERE user_id = $1", user)
    return await shop.fetchval(statements()["redeem_coupon"], user, code) is not None


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_void_waits_for_who_redeems_and_is_refused_once_it_is_done(database: str, is_committed: bool) -> None:
    async def story() -> None:
        async with opened_world(database) as world, bystander(database) as shop:
            campaign, (first, _) = await granted(world, 2)
            redeeming = shop.transaction()
            await redeeming.start()
            assert await redeem(shop, first)
            voiding = asyncio.create_task(administering(world).void(CODE, first, reason="sold", by=BY))
            await until_waiting_or_done(world, voiding)
            assert not voiding.done()
            if is_committed:
                await redeeming.commit()
                with pytest.raises(CouponNotVoidable):
                    await voiding
                assert await seats_of(world, campaign) == ("exhausted", 2, 0)
            else:
                await redeeming.rollback()
                await voiding
                assert not await redeem(shop, first)

    asyncio.run(story())


def test_of_many_voids_redemptions_and_rounds_at_once_every_seat_goes_to_exactly_one_next(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world, bystander(database) as shop:
            campaigns = administering(world)
            campaign, users = await granted(world, 60, cap=20)
            redeemed: set[UUID] = set()
            voided: set[UUID] = set()

            async def void(user: UUID) -> None:
                with contextlib.suppress(CouponNotVoidable):
                    await campaigns.void(CODE, user, reason="sold", by=BY)
                    assert user not in voided
                    voided.add(user)

            async def redeem_all(those: list[UUID]) -> None:
                for user in those:
                    if await redeem(shop, user):
                        redeemed.add(user)

            async with asyncio.timeout(60):
                await asyncio.gather(
                    *(void(user) for user in users[:20]),
                    *(void(user) for user in users[:20:2]),
                    redeem_all(users[19::-1]),
                    *(grant(world) for _ in range(4)),
                )
            await grant(world)
            assert redeemed | voided == set(users[:20])
            assert not redeemed & voided
            left = [user for user in users[: 20 + len(voided)] if user not in voided]
            assert await winners(world.outside, campaign) == left
            assert await seats_of(world, campaign) == ("exhausted", 20, 0)
            for user in users[:25]:
                coupons = await world.outside.fetch(
                    "SELECT couponid FROM grants WHERE user_id = $1 AND state = 'granted'", user
                )
                assert (await mirror_of(world, user) or []) == [row["couponid"] for row in coupons]

    asyncio.run(story())


def test_a_pause_waits_for_the_round_under_way_and_no_other_begins(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world, bystander(database) as blocker:
            campaigns = administering(world)
            campaign = await make_campaign(world.outside, cap=5)
            first, second = await enter(world.outside, campaign, 2)
            await log_in(world.outside, [first])
            await do_jobs(world)
            holding = blocker.transaction()
            await holding.start()
            await blocker.execute("SELECT FROM users WHERE userid = $1 FOR UPDATE", first)
            round_ = asyncio.create_task(grant(world))
            await until_waiting_or_done(world, round_)
            pausing = asyncio.create_task(campaigns.step(CODE, CampaignStep.PAUSE, by=BY))
            await until_waiting_or_done(world, round_, pausing)
            assert not pausing.done()
            await log_in(world.outside, [second])
            await do_jobs(world)
            await holding.rollback()
            await asyncio.gather(round_, pausing)
            await grant(world)
            assert await winners(world.outside, campaign) == [first]
            assert (await seats_of(world, campaign))[0] == "paused"

    asyncio.run(story())


def test_who_logged_in_before_the_end_gets_the_coupon_though_the_login_is_noted_after_it(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=5)
            first, second, late = await enter(world.outside, campaign, 3)
            await log_in(world.outside, [first, second])
            await administering(world).step(CODE, CampaignStep.END, by=BY)
            await log_in(world.outside, [late])
            await grant(world)
            assert await winners(world.outside, campaign) == []  # none is noted, so the order is not known
            await do_jobs(world)
            await grant(world)
            assert await winners(world.outside, campaign) == [first, second]

    asyncio.run(story())


def test_an_end_amid_logins_parts_them_at_one_moment(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world, bystander(database) as door:
            campaign = await make_campaign(world.outside, cap=100)
            users = await enter(world.outside, campaign, 60)
            ended = asyncio.Event()

            async def come() -> list[UUID]:
                before: list[UUID] = []
                for n, user in enumerate(users):
                    await log_in(door, [user])
                    if not ended.is_set():
                        before.append(user)  # answered before the end was
                    if n == 20:
                        asking.set()
                return before

            async def end() -> None:
                await asking.wait()
                await administering(world).step(CODE, CampaignStep.END, by=BY)
                ended.set()

            asking = asyncio.Event()
            before, *_ = await asyncio.gather(come(), end(), do_jobs(world), grant(world))
            for _ in range(2):
                await do_jobs(world)
                await grant(world)
            got = await winners(world.outside, campaign)
            assert got == users[: len(got)]
            assert users[20] in got
            assert len(got) <= len(before) + 1

    asyncio.run(story())


def test_of_two_steps_at_once_the_second_starts_from_where_the_first_led(database: str) -> None:
    """Else a pause that looked before the end would take the end back."""

    async def story() -> None:
        async with opened_world(database) as world, bystander(database) as blocker:
            campaign = await make_campaign(world.outside)
            holding = blocker.transaction()
            await holding.start()
            await blocker.execute("SELECT FROM campaigns FOR UPDATE")
            ending = asyncio.create_task(administering(world).step(CODE, CampaignStep.END, by=BY))
            await until_waiting_or_done(world, ending)
            pausing = asyncio.create_task(administering(world).step(CODE, CampaignStep.PAUSE, by=BY))
            await until_waiting_or_done(world, ending, pausing)
            await holding.rollback()
            await ending
            with pytest.raises(CampaignStepRefused):
                await pausing
            assert (await seats_of(world, campaign))[0] == "ended"

    asyncio.run(story())
