"""The first of the line get the coupons, in their order and once, whatever is late, dead, stuck or done by two workers."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID, uuid4

import pytest

from tests.integration.storage.worlds import PostgresWorld, bystander, opened_world, until_waiting_or_done
from tests.integration.worker.test_jobs import do_jobs
from tests.support.campaigns import CODE, enter, log_in, make_campaign, winners
from tidegate.domain.coupon_codes import read_coupon_code
from tidegate.domain.users import NewUser
from tidegate.storage.campaign_line import PostgresCampaignLine
from tidegate.storage.connections import PrimaryConnection
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.grant_coupons import GrantCoupons

TICKS = iter(range(10**9))


def granting(world: PostgresWorld, *, patience: bool = True) -> GrantCoupons:
    """One worker's round; without *patience* it gives up at once on whoever writes."""
    clock = monotonic if patience else lambda: next(TICKS) * 10.0
    line = PostgresCampaignLine(world.pool, statement_timeout_s=5.0, clock=clock)
    return GrantCoupons(line=line, ids=RandomIds(), random_octets=os.urandom, on_granted=lambda _count: None)


async def state_of(world: PostgresWorld, campaign: UUID) -> tuple[str, int, int]:
    row = await world.outside.fetchrow("SELECT state, issued, held FROM campaigns WHERE campaign_id = $1", campaign)
    assert row is not None
    return row["state"], row["issued"], row["held"]


def test_the_first_to_log_in_get_coupons_in_their_order_and_the_next_get_none(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=3, coupon_days=30, percent=12.5)
            users = await enter(world.outside, campaign, 6)
            order = [users[n] for n in (4, 1, 5, 0)]
            await log_in(world.outside, [*order, *order])
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == order[:3]
            assert await state_of(world, campaign) == ("exhausted", 3, 0)
            coupons = await world.outside.fetch(
                "SELECT coupons.*, discount.of_user FROM coupons JOIN grants USING (couponid)"
                " JOIN (SELECT userid, unnest(users.discount) AS of_user FROM users) AS discount"
                " ON of_user = couponid AND userid = user_id"
            )
            assert len(coupons) == 3
            good_until = datetime.now(UTC).date() + timedelta(days=30)
            assert all(row["discount"] == 12.5 and row["expiration_date"] == good_until for row in coupons)
            assert all(read_coupon_code(row["code"]) == row["code"] for row in coupons)
            told = await world.outside.fetch("SELECT user_id FROM jobs WHERE kind = 'coupon_granted'")
            assert {row["user_id"] for row in told} == set(order[:3])

    asyncio.run(story())


def test_who_registers_through_an_open_campaign_takes_part(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            now = datetime.now(UTC)
            campaign = await make_campaign(world.outside)
            await make_campaign(world.outside, code="early", opens_at=now + timedelta(minutes=1))
            await make_campaign(world.outside, code="late", opens_at=now - timedelta(2), closes_at=now - timedelta(1))
            await make_campaign(world.outside, code="paused", state="paused")
            people = {}
            for code in (CODE, "early", "late", "paused", "unknown", None):
                user = NewUser(
                    user_id=uuid4(),
                    username=f"via-{code}".lower(),
                    email=None,
                    phone_number=None,
                    password_hash="$argon2id$",
                    full_name=None,
                    birth_date=None,
                    campaign=code,
                )
                await world.users.add(user)
                people[code] = user.user_id
            rows = await world.outside.fetch("SELECT user_id, campaign_id FROM entrants")
            assert [(row["user_id"], row["campaign_id"]) for row in rows] == [(people[CODE], campaign)]
            assert await world.outside.fetchval("SELECT count(*) FROM users") == 6

    asyncio.run(story())


def test_places_are_served_in_order_though_a_lower_one_commits_late(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world, bystander(database) as slow:
            campaign = await make_campaign(world.outside, cap=1)
            early, late = await enter(world.outside, campaign, 2)
            transaction = slow.transaction()
            await transaction.start()
            await log_in(slow, [early])
            await log_in(world.outside, [late])
            await do_jobs(world)
            assert not await granting(world, patience=False)()
            assert await winners(world.outside, campaign) == []
            round_of_another = asyncio.create_task(granting(world)())  # it waits, for less than the transaction may take
            await asyncio.sleep(0)
            await transaction.commit()
            await round_of_another
            assert await winners(world.outside, campaign) == []  # committed, and not noted yet
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [early]

    asyncio.run(story())


def test_a_login_that_waits_to_be_noted_holds_those_behind_it_and_not_those_before_it(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=3)
            first, second, third = await enter(world.outside, campaign, 3)
            await log_in(world.outside, [first])
            await do_jobs(world)
            held = await log_in(world.outside, [second])
            await log_in(world.outside, [third])
            async with bystander(database) as other:
                transaction = other.transaction()
                await transaction.start()
                await other.execute("SELECT FROM jobs WHERE job_id = $1 FOR UPDATE", held[0])
                await do_jobs(world)  # all but that one
                await granting(world)()
                assert await winners(world.outside, campaign) == [first]
                await transaction.rollback()
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [first, second, third]

    asyncio.run(story())


@pytest.mark.parametrize("fate", ["failing", "dead", "retried"])
def test_a_dead_login_job_keeps_its_place_and_holds_nobody_up(database: str, fate: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=2)
            first, second, third = await enter(world.outside, campaign, 3)
            (job,) = await log_in(world.outside, [first])
            await world.outside.execute(
                "UPDATE jobs SET tries = 1, error = 'Error', due_at = now() + interval '1 h' WHERE job_id = $1", job
            )
            if fate != "failing":
                await world.outside.execute(
                    "WITH gone AS (DELETE FROM jobs WHERE job_id = $1 RETURNING *) INSERT INTO dead_jobs"
                    " SELECT job_id, kind, user_id, created_at, now(), detail, tries, error FROM gone",
                    job,
                )
            await log_in(world.outside, [second, third])
            await do_jobs(world)
            if fate == "retried":
                await world.pool.fetch("retry_jobs", job, "Unfinished")
                await granting(world)()
                assert await winners(world.outside, campaign) == []  # it waits as any other does
                await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [first, second]

    asyncio.run(story())


def test_of_several_logins_at_once_the_first_counts_though_it_is_noted_last(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=1)
            one, two = await enter(world.outside, campaign, 2)
            early, _, again = await log_in(world.outside, [one, two, one])
            async with bystander(database) as other:
                transaction = other.transaction()
                await transaction.start()
                await other.execute("SELECT FROM jobs WHERE job_id = $1 FOR UPDATE", early)
                await do_jobs(world)
                assert await world.outside.fetchval("SELECT login_job FROM entrants WHERE user_id = $1", one) == again
                await granting(world)()
                assert await winners(world.outside, campaign) == []
                await transaction.rollback()
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [one]

    asyncio.run(story())


def test_many_workers_at_once_grant_exactly_what_there_is(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=70)
            users = await enter(world.outside, campaign, 200)
            for start in range(0, 200, 20):
                await log_in(world.outside, users[start : start + 20])
                await asyncio.gather(do_jobs(world, at_most=7), granting(world)(), do_jobs(world), granting(world)())
            await asyncio.gather(do_jobs(world), do_jobs(world))
            await asyncio.gather(*(granting(world)() for _ in range(3)))
            assert await winners(world.outside, campaign) == users[:70]
            assert await state_of(world, campaign) == ("exhausted", 70, 0)

    asyncio.run(story())


def test_whoever_writes_grants_the_database_holds_the_cap(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=2)
            users = await enter(world.outside, campaign, 3)
            with pytest.raises(Exception, match="campaigns_cap"):
                await world.outside.execute(
                    "INSERT INTO grants (campaign_id, user_id, rank, state, held_until)"
                    " SELECT $1, user_id, n, 'held', now() FROM unnest($2::uuid[]) WITH ORDINALITY AS u (user_id, n)",
                    campaign,
                    users,
                )
            with pytest.raises(Exception, match="never removed"):
                await world.outside.execute("DELETE FROM grants")

    asyncio.run(story())


def test_a_round_that_ends_between_any_two_statements_leaves_nothing_or_everything(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        """Nobody catches it, as nobody catches kill -9."""

    whole = PrimaryConnection.fetch
    left = 0

    async def fetch(self: PrimaryConnection, statement: str, *values: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return await whole(self, statement, *values)

    monkeypatch.setattr(PrimaryConnection, "fetch", fetch)

    async def story() -> None:
        nonlocal left
        left = 10**6
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=2)
            users = await enter(world.outside, campaign, 3)
            await log_in(world.outside, users)
            await do_jobs(world)
            for steps in range(1_000):
                left = steps
                try:
                    await granting(world)()
                except KilledError:
                    count = await world.outside.fetchval("SELECT count(*) FROM coupons")
                    assert count == len(await winners(world.outside, campaign)) == 0
                    assert await state_of(world, campaign) == ("active", 0, 0)
                else:
                    if await winners(world.outside, campaign):
                        break  # else the server had not noticed the end of the one before, whose turn it still was
            assert steps > 8
            left = 10**6
            assert await winners(world.outside, campaign) == users[:2]
            assert await world.outside.fetchval("SELECT count(*) FROM coupons") == 2

    asyncio.run(story())


def test_by_registration_a_seat_is_held_and_goes_to_the_next_if_nobody_comes(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=2, rank_by="registration", seat_hours=1)
            first, second, third, fourth = await enter(world.outside, campaign, 4)
            await granting(world)()
            assert await state_of(world, campaign) == ("active", 0, 2)
            await log_in(world.outside, [fourth, second])
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [second]
            await world.outside.execute(
                "UPDATE grants SET held_until = now() - interval '1 minute' WHERE user_id = $1", first
            )
            await granting(world)()
            assert await state_of(world, campaign) == ("active", 1, 1)  # the third has it now
            await log_in(world.outside, [first])  # too late
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [second]
            await log_in(world.outside, [third])
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [second, third]
            assert await state_of(world, campaign) == ("exhausted", 2, 0)

    asyncio.run(story())


def test_at_the_end_who_had_logged_in_still_gets_the_coupon_and_who_had_not_gets_none(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=3)
            before, after = await enter(world.outside, campaign, 2)
            await log_in(world.outside, [before])
            await do_jobs(world)
            await world.outside.execute("UPDATE campaigns SET state = 'ended', ended_at = now()")
            await log_in(world.outside, [after])
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [before]

    asyncio.run(story())


def test_a_seat_that_comes_back_long_after_the_end_goes_to_who_had_logged_in_before_it(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=1, passes_on=True)
            first, next_, late = await enter(world.outside, campaign, 3)
            await log_in(world.outside, [first, next_])
            await do_jobs(world)
            await granting(world)()
            await world.outside.execute("UPDATE campaigns SET state = 'ended', ended_at = now()")
            await log_in(world.outside, [late])
            await do_jobs(world)
            await world.outside.execute(
                "UPDATE campaigns SET ended_at = now() - interval '30 days';"
                " UPDATE entrants SET login_at = login_at - interval '31 days' WHERE login_at IS NOT NULL"
            )
            await granting(world)()
            assert await winners(world.outside, campaign) == [first]
            await world.outside.execute(
                "UPDATE grants SET state = 'returned', voided_at = now(), void_reason = 'a fraud' WHERE user_id = $1", first
            )
            await granting(world)()
            assert await winners(world.outside, campaign) == [next_]
            await granting(world)()
            assert await state_of(world, campaign) == ("ended", 1, 0)

    asyncio.run(story())


def test_who_logged_in_before_the_end_gets_the_coupon_though_it_is_noted_after_it(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=3)
            before, held, after = await enter(world.outside, campaign, 3)
            (first, _) = await log_in(world.outside, [before, held])
            await world.outside.execute("UPDATE campaigns SET state = 'ended', ended_at = now()")
            await log_in(world.outside, [after])
            async with bystander(database) as other:
                transaction = other.transaction()
                await transaction.start()
                await other.execute("SELECT FROM jobs WHERE job_id = $1 FOR UPDATE", first)
                await do_jobs(world)
                await granting(world)()
                assert await winners(world.outside, campaign) == []  # whoever is first waits to be noted, as before the end
                await transaction.rollback()
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [before, held]

    asyncio.run(story())


def test_a_seat_does_not_lapse_while_a_login_of_before_its_end_may_turn_up(database: str) -> None:
    """Numbers and times are not drawn at once: who began to log in first may have the higher number."""

    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=2, rank_by="registration", seat_hours=1)
            first, second = await enter(world.outside, campaign, 2)
            await granting(world)()
            await world.outside.execute("UPDATE grants SET held_until = now() - interval '1 s' WHERE user_id = $1", first)
            await log_in(world.outside, [second, first])
            await world.outside.execute(
                "UPDATE jobs SET created_at = now() - interval '2 s' WHERE user_id = $1 AND kind = 'login_succeeded'", first
            )
            await granting(world)()
            await do_jobs(world)
            await granting(world)()
            assert await winners(world.outside, campaign) == [first, second]

    asyncio.run(story())


def test_who_was_deleted_meanwhile_leaves_the_place_to_the_next(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=1)
            gone, there = await enter(world.outside, campaign, 2)
            await log_in(world.outside, [gone, there])
            await do_jobs(world)
            async with bystander(database) as other:
                transaction = other.transaction()
                await transaction.start()
                await other.execute("DELETE FROM users WHERE userid = $1", gone)
                round_ = asyncio.create_task(granting(world)())
                await until_waiting_or_done(world, round_)
                await transaction.commit()
                await round_
            await granting(world)()
            assert await winners(world.outside, campaign) == [there]

    asyncio.run(story())
