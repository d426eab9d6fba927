"""What should hold of a campaign is found out by its own name when it does not, whoever broke it and however."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.integration.storage.worlds import PostgresWorld, bystander, opened_world
from tests.integration.worker.test_coupons import granting
from tests.integration.worker.test_jobs import hands_of
from tests.support.campaigns import enter, log_in, make_campaign
from tests.support.databases import drop_database, make_migrated_database
from tidegate.domain.campaign_checks import CLAIMS, Check
from tidegate.domain.errors import UnknownCampaign
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.storage.campaign_administration import PostgresCampaignAdministration
from tidegate.storage.campaign_verification import OFFENCES_TOLD_MAX, CampaignVerification, _verdict
from tidegate.storage.connections import PrimaryConnection
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.administer_campaigns import AdministerCampaigns

SPRING, SEATS = "spring", "seats"


async def come(world: PostgresWorld, *users: UUID) -> None:
    """They log in, one after the other, and all that follows is done."""
    await log_in(world.outside, users)
    await work(world)


async def work(world: PostgresWorld) -> None:
    while await hands_of(world).work():
        pass
    await granting(world)()


async def name(world: PostgresWorld, names: str, users: list[UUID]) -> None:
    for username, user in zip(names.split(), users, strict=True):
        await world.outside.execute("UPDATE users SET username = $1 WHERE userid = $2", username, user)


async def make_both(world: PostgresWorld) -> None:
    """Two campaigns to which much has happened, all of it right.

    By login, three seats: gone logged in twice first, was granted and deleted; ann was granted; bob's coupon was voided and
    his seat went to cid; dan was too late; eve never came. By registration: rob was granted; sue let her seat lapse and
    came too late; tom was granted and deleted; una holds sue's seat; vic waits. A stranger takes no part.
    """
    by_login = await make_campaign(world.outside, code=SPRING, cap=3, passes_on=True)
    by_registration = await make_campaign(
        world.outside, code=SEATS, cap=3, rank_by="registration", seat_hours=1, passes_on=False
    )
    other = await make_campaign(world.outside, code="other", cap=3)
    (stranger,) = await enter(world.outside, other, 1)
    await world.outside.execute("DELETE FROM entrants")
    await name(world, "stranger", [stranger])
    await come(world, stranger)
    gone, ann, bob, cid, dan, _ = users = await enter(world.outside, by_login, 6)
    await name(world, "gone ann bob cid dan eve", users)
    await come(world, gone, gone, ann, bob, cid, dan)
    campaigns = AdministerCampaigns(campaigns=PostgresCampaignAdministration(world.pool), ids=RandomIds())
    await campaigns.void(SPRING, bob, reason="sold", by="cli:tester")
    await work(world)
    rob, sue, tom, _, _ = seated = await enter(world.outside, by_registration, 5)
    await name(world, "rob sue tom una vic", seated)
    await work(world)
    await come(world, rob, tom)
    await world.outside.execute("UPDATE grants SET held_until = now() - interval '1 day' WHERE user_id = $1", sue)
    await work(world)
    await come(world, sue)
    for user in (gone, tom):
        await world.delete(user)
    await work(world)


@pytest.fixture(scope="module")
def campaigns(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database with both, for tests that take back what they do."""
    made = make_migrated_database(postgres)

    async def fill() -> None:
        async with opened_world(postgres.dsn(made)) as world:
            await make_both(world)

    asyncio.run(fill())
    yield postgres.dsn(made)
    drop_database(postgres, made)


async def broken(connection: "asyncpg.Connection[asyncpg.Record]", code: str) -> dict[Check, list[str]]:
    """The checks that do not hold, each with its offences as text."""
    campaign = await connection.fetchval("SELECT campaign_id FROM campaigns WHERE code = $1", code)
    work = PrimaryConnection(connection)
    verdicts = [await _verdict(work, check, campaign) for check in Check]
    return {
        verdict.check: [" ".join(map(str, offence.values())) for offence in verdict.offences]
        for verdict in verdicts
        if not verdict.holds
    }


def test_what_is_right_holds(campaigns: str) -> None:
    async def story() -> None:
        async with bystander(campaigns) as connection:
            rows = await connection.fetch(
                "SELECT code, array_agg(coalesce(username, 'gone') || ' ' || grants.state ORDER BY rank) AS seats"
                " FROM grants JOIN campaigns USING (campaign_id) LEFT JOIN users ON userid = user_id GROUP BY code"
            )
            assert {row["code"]: row["seats"] for row in rows} == {
                SPRING: ["gone granted", "ann granted", "bob returned", "cid granted"],
                SEATS: ["rob granted", "sue lapsed", "gone granted", "una held"],
            }
            for code in (SPRING, SEATS, "other"):
                assert await broken(connection, code) == {}

    asyncio.run(story())


class Break(NamedTuple):
    """Something that must not be so.

    Attributes:
        code: In which campaign.
        check: The one that must say so.
        named: What its offence must tell, {ann} for her id.
        statements: That make it so.
    """

    code: str
    check: Check
    named: str
    statements: str


BREAKS = {
    "one more than there are": Break(
        SPRING,
        Check.CAP,
        "4",
        """
        ALTER TABLE campaigns DROP CONSTRAINT campaigns_cap;
        INSERT INTO coupons SELECT '{new}', 'x', discount, expiration_date FROM coupons LIMIT 1;
        INSERT INTO grants (campaign_id, user_id, rank, state, couponid, granted_at)
            SELECT campaign_id, user_id, login_job, 'granted', '{new}', now() FROM entrants WHERE user_id = '{dan}';
        UPDATE users SET discount = ARRAY['{new}'::uuid] WHERE userid = '{dan}';
        """,
    ),
    "the cap was lowered": Break(
        SPRING,
        Check.CAP,
        "2 3",
        "ALTER TABLE campaigns DROP CONSTRAINT campaigns_cap; UPDATE campaigns SET cap = 2 WHERE code = 'spring'",
    ),
    "issued was set": Break(SPRING, Check.COUNTERS, "3 2 3", "UPDATE campaigns SET issued = 2 WHERE code = 'spring'"),
    "held was set": Break(SEATS, Check.COUNTERS, "0 1", "UPDATE campaigns SET held = 0 WHERE code = 'seats'"),
    "seats changed while nobody counted": Break(
        SEATS,
        Check.COUNTERS,
        "1 0",
        "ALTER TABLE grants DISABLE TRIGGER grants_count_changed; UPDATE grants SET state = 'lapsed' WHERE state = 'held'",
    ),
    "full and not exhausted": Break(
        SPRING, Check.STATE, "active", "UPDATE campaigns SET state = 'active' WHERE code = 'spring'"
    ),
    "exhausted and not full": Break(
        SEATS, Check.STATE, "exhausted", "UPDATE campaigns SET state = 'exhausted' WHERE code = 'seats'"
    ),
    "a draft that granted": Break(SEATS, Check.STATE, "draft", "UPDATE campaigns SET state = 'draft' WHERE code = 'seats'"),
    "two seats of one": Break(
        SPRING,
        Check.ONE_PER_USER,
        "{gone} 2",
        """
        ALTER TABLE grants DROP CONSTRAINT grants_pkey;
        INSERT INTO coupons SELECT '{new}', 'x', discount, expiration_date FROM coupons LIMIT 1;
        INSERT INTO grants (campaign_id, user_id, rank, state, couponid, granted_at, voided_at, void_reason)
            SELECT campaign_id, user_id,
                (SELECT max(job_id) FROM audit WHERE user_id = '{gone}' AND event = 'login_succeeded'),
                'returned', '{new}', now(), now(), 'x'
            FROM grants WHERE user_id = '{gone}';
        """,
    ),
    "two in one place": Break(
        SEATS,
        Check.ONE_PER_PLACE,
        "{rob}",
        """
        ALTER TABLE grants DROP CONSTRAINT grants_rank_unique;
        UPDATE grants SET rank = (SELECT rank FROM grants WHERE user_id = '{rob}') WHERE user_id = '{gone}';
        """,
    ),
    "one coupon for two": Break(
        SPRING,
        Check.ONE_PER_COUPON,
        "{ann}",
        """
        ALTER TABLE grants DROP CONSTRAINT grants_couponid_unique;
        UPDATE grants SET couponid = (SELECT couponid FROM grants WHERE user_id = '{ann}') WHERE user_id = '{cid}';
        UPDATE users SET discount = (SELECT discount FROM users WHERE userid = '{ann}') WHERE userid = '{cid}';
        """,
    ),
    "a seat for who takes no part": Break(
        SPRING, Check.ENTRANTS, "{ann} granted", "DELETE FROM entrants WHERE user_id = '{ann}'"
    ),
    "a seat for who takes part elsewhere": Break(
        SPRING,
        Check.ENTRANTS,
        "{ann} granted",
        """
        UPDATE entrants SET campaign_id = (SELECT campaign_id FROM campaigns WHERE code = 'other') WHERE user_id = '{ann}'
        """,
    ),
    "a coupon without a login": Break(
        SEATS,
        Check.FIRST_LOGIN,
        "{rob} granted",
        """
        UPDATE entrants SET login_job = NULL, login_at = NULL WHERE user_id = '{rob}';
        DELETE FROM audit WHERE event = 'login_succeeded' AND user_id = '{rob}';
        """,
    ),
    "a login that the audit does not know": Break(
        SPRING,
        Check.LOGIN_HAPPENED,
        "{ann}",
        "DELETE FROM audit WHERE event = 'login_succeeded' AND user_id = '{ann}'",
    ),
    "a login of somebody who is gone that the audit does not know": Break(
        SPRING,
        Check.LOGIN_HAPPENED,
        "{gone}",
        "DELETE FROM audit WHERE event = 'login_succeeded' AND user_id = '{gone}'",
    ),
    "a login that was not noted": Break(
        SPRING,
        Check.LOGIN_NOTED,
        "{dan}",
        "UPDATE entrants SET login_job = NULL, login_at = NULL WHERE user_id = '{dan}'",
    ),
    "a later login was noted": Break(
        SPRING, Check.LOGIN_NOTED, "{dan}", "UPDATE entrants SET login_job = login_job + 1000 WHERE user_id = '{dan}'"
    ),
    "another's place": Break(SPRING, Check.PLACE, "{ann}", "UPDATE grants SET rank = 0 WHERE user_id = '{ann}'"),
    "another's place by registration": Break(
        SEATS, Check.PLACE, "{rob}", "UPDATE grants SET rank = 0 WHERE user_id = '{rob}'"
    ),
    "somebody was passed over": Break(
        SPRING, Check.ORDER, "{dan}", "UPDATE entrants SET login_job = 0 WHERE user_id = '{dan}'"
    ),
    "somebody was passed over by registration": Break(
        SEATS,
        Check.ORDER,
        "{vic}",
        """
        ALTER TABLE entrants ALTER entrant_id DROP IDENTITY;
        UPDATE entrants SET entrant_id = 0 WHERE user_id = '{vic}';
        """,
    ),
    "a coupon after the seat had lapsed": Break(
        SEATS,
        Check.IN_TIME,
        "{rob} granted",
        """
        UPDATE grants SET held_until = login_at - interval '1 s' FROM entrants
        WHERE entrants.user_id = grants.user_id AND grants.user_id = '{rob}'
        """,
    ),
    "a seat that lapsed though its user came in time": Break(
        SEATS,
        Check.IN_TIME,
        "{sue} lapsed",
        """
        UPDATE grants SET held_until = login_at + interval '1 s' FROM entrants
        WHERE entrants.user_id = grants.user_id AND grants.user_id = '{sue}'
        """,
    ),
    "a coupon for a login after the end": Break(
        SPRING,
        Check.IN_TIME,
        "{ann} granted",
        "UPDATE campaigns SET state = 'ended', ended_at = created_at WHERE code = 'spring'",
    ),
    "another discount": Break(SPRING, Check.TERMS, "{ann}", "UPDATE coupons SET discount = 99"),
    "another expiry": Break(SPRING, Check.TERMS, "{ann}", "UPDATE coupons SET expiration_date = expiration_date + 1"),
    "a coupon that is not there": Break(
        SPRING,
        Check.TERMS,
        "{ann}",
        """
        ALTER TABLE grants DROP CONSTRAINT grants_couponid_fkey;
        DELETE FROM coupons WHERE couponid = (SELECT couponid FROM grants WHERE user_id = '{ann}');
        """,
    ),
    "a voided coupon was redeemed": Break(
        SPRING, Check.ENDS, "{bob} returned", "UPDATE grants SET redeemed_at = now() WHERE user_id = '{bob}'"
    ),
    "a voided coupon is reserved": Break(
        SPRING,
        Check.ENDS,
        "{bob} returned",
        "UPDATE grants SET reservation_id = gen_random_uuid(), reserved_until = now() WHERE user_id = '{bob}'",
    ),
    "the mirror lacks one": Break(
        SPRING, Check.MIRROR_MISSING, "{ann}", "UPDATE users SET discount = NULL WHERE userid = '{ann}'"
    ),
    "the mirror was emptied": Break(
        SPRING, Check.MIRROR_MISSING, "{ann}", "UPDATE users SET discount = ARRAY[]::uuid[] WHERE userid = '{ann}'"
    ),
    "the mirror has one that is nobody's": Break(
        SPRING, Check.MIRROR_EXTRA, "{eve}", "UPDATE users SET discount = ARRAY['{new}'::uuid] WHERE userid = '{eve}'"
    ),
    "the mirror has a voided one": Break(
        SPRING,
        Check.MIRROR_EXTRA,
        "{bob}",
        "UPDATE users SET discount = ARRAY[couponid] FROM grants WHERE user_id = userid AND userid = '{bob}'",
    ),
    "the mirror has one twice": Break(
        SPRING, Check.MIRROR_EXTRA, "{ann}", "UPDATE users SET discount = discount || discount WHERE userid = '{ann}'"
    ),
    "the mirror of a stranger has one": Break(
        SPRING,
        Check.MIRROR_EXTRA,
        "{stranger}",
        "UPDATE users SET discount = (SELECT discount FROM users WHERE userid = '{ann}') WHERE userid = '{stranger}'",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_is_broken_by_hand_is_named_by_its_check_and_by_no_other(campaigns: str, what: str) -> None:
    code, check, named, statements = BREAKS[what]
    gone = (
        "SELECT user_id FROM grants JOIN campaigns USING (campaign_id) WHERE code = $1"
        " AND NOT EXISTS (SELECT FROM users WHERE userid = user_id)"
    )

    async def story() -> None:
        async with bystander(campaigns) as connection:
            names = {row["username"]: str(row["userid"]) for row in await connection.fetch("SELECT * FROM users")}
            names |= {"gone": str(await connection.fetchval(gone, code)), "new": str(uuid4())}
            breaking = connection.transaction()
            await breaking.start()
            await connection.execute(statements.format(**names))
            found = await broken(connection, code)
            await breaking.rollback()
            assert list(found) == [check]
            assert any(named.format(**names) in offence for offence in found[check])

    asyncio.run(story())


def test_every_check_has_been_seen_to_fail() -> None:
    assert {each.check for each in BREAKS.values()} == set(Check) == set(CLAIMS)


def test_an_empty_or_short_audit_accuses_nobody(campaigns: str) -> None:
    """It is kept for so many days only."""

    async def story() -> None:
        async with bystander(campaigns) as connection:
            for kept in (
                "false",
                "job_id > (SELECT max(rank) FROM grants)",
                "job_id >= (SELECT max(login_job) FROM entrants)",
            ):
                removing = connection.transaction()
                await removing.start()
                await connection.execute(f"DELETE FROM audit WHERE NOT ({kept})")
                assert await broken(connection, SPRING) == {}
                assert await broken(connection, SEATS) == {}
                await removing.rollback()

    asyncio.run(story())


def test_a_login_that_is_not_noted_since_all_seats_are_gone_for_good_is_in_order(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, code=SPRING, cap=2)
            users = await enter(world.outside, campaign, 3)
            await come(world, *users[:2])
            await come(world, users[2])
            assert await world.outside.fetchval("SELECT login_job FROM entrants WHERE user_id = $1", users[2]) is None
            assert await broken(world.outside, SPRING) == {}

    asyncio.run(story())


def test_a_login_after_the_end_is_in_order_noted_or_not(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, code=SPRING, cap=5)
            before, after = await enter(world.outside, campaign, 2)
            await come(world, before)
            await world.outside.execute("UPDATE campaigns SET state = 'ended', ended_at = now()")
            await come(world, after)
            assert await world.outside.fetchval("SELECT login_job FROM entrants WHERE user_id = $1", after) is None
            assert await broken(world.outside, SPRING) == {}
            # It began after the end, and drew its number before one that had begun before the end.
            await world.outside.execute(
                "UPDATE entrants SET login_job = 0, login_at = now() + interval '1 h' WHERE user_id = $1", after
            )
            assert await broken(world.outside, SPRING) == {}

    asyncio.run(story())


def test_of_many_offences_some_are_told_and_that_there_are_more(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, code=SPRING, cap=50)
            await come(world, *await enter(world.outside, campaign, 50))
            await world.outside.execute("UPDATE users SET discount = NULL")
            heard: list[tuple[int, int]] = []
            verdicts = await CampaignVerification(world.pool)(SPRING, on_checked=lambda *told: heard.append(told))
            assert heard == [(number, len(Check)) for number in range(1, len(Check) + 1)]
            (verdict,) = [each for each in verdicts if not each.holds]
            assert (verdict.check, len(verdict.offences), verdict.are_more) == (
                Check.MIRROR_MISSING,
                OFFENCES_TOLD_MAX,
                True,
            )
            with pytest.raises(UnknownCampaign):
                await CampaignVerification(world.pool)("nobody", on_checked=lambda *_: None)

    asyncio.run(story())


def test_all_checks_see_one_moment(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is granted between two of them could make one accuse the other."""
    whole = PrimaryConnection.fetch

    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, code=SPRING, cap=2)
            await come(world, *await enter(world.outside, campaign, 2))

            async def fetch(self: PrimaryConnection, statement: str, *values: object) -> object:
                rows = await whole(self, statement, *values)
                if statement == f"verify_{Check.CAP}":
                    await world.outside.execute("UPDATE users SET discount = NULL")
                return rows

            monkeypatch.setattr(PrimaryConnection, "fetch", fetch)
            verify = CampaignVerification(world.pool)
            assert all(verdict.holds for verdict in await verify(SPRING, on_checked=lambda *_: None))
            assert not all(verdict.holds for verdict in await verify(SPRING, on_checked=lambda *_: None))

    asyncio.run(story())


def test_while_everything_is_under_way_everything_holds(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world, bystander(database) as door:
            campaign = await make_campaign(world.outside, code=SPRING, cap=60, passes_on=True)
            users = await enter(world.outside, campaign, 150)
            campaigns = AdministerCampaigns(campaigns=PostgresCampaignAdministration(world.pool), ids=RandomIds())
            verify = CampaignVerification(world.pool)
            is_over = asyncio.Event()

            async def crowd() -> None:
                for start in range(0, 150, 10):
                    await log_in(door, users[start : start + 10])
                    await work(world)
                    for user in users[start // 3 : start // 3 + 2]:
                        await campaigns.void(SPRING, user, reason="sold", by="cli:tester")
                is_over.set()

            async def watch() -> int:
                rounds = 0
                while not is_over.is_set():
                    verdicts = await verify(SPRING, on_checked=lambda *_: None)
                    assert [verdict for verdict in verdicts if not verdict.holds] == []
                    rounds += 1
                return rounds

            _, rounds = await asyncio.gather(crowd(), watch())
            assert rounds > 1

    asyncio.run(story())
