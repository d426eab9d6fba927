"""`tidegate campaigns watch` on a real database: as a person's command, and as what it asks."""

import asyncio
import base64
import json
import os
from pathlib import Path

import pytest

from tests.integration.storage.worlds import PostgresWorld, opened_world
from tests.integration.worker.test_coupons import granting
from tests.integration.worker.test_jobs import do_jobs
from tests.support.campaigns import CODE, enter, log_in, make_campaign
from tests.support.commands import tidegate
from tidegate.domain.campaigns import CampaignState
from tidegate.storage.campaign_watching import CampaignLook, PostgresCampaignWatch


async def looked(watch: PostgresCampaignWatch) -> CampaignLook:
    look = await watch.look()
    assert look is not None
    return look


async def grant(world: PostgresWorld) -> None:
    await do_jobs(world)
    await granting(world)()


def test_each_look_tells_what_has_become_of_everybody(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            now_s = 1_000.0
            campaign = await make_campaign(world.outside, cap=3)
            other = await make_campaign(world.outside, code="other")
            await log_in(world.outside, await enter(world.outside, other, 1))
            await grant(world)
            await world.outside.execute("TRUNCATE jobs")
            watch = PostgresCampaignWatch(world.pool, CODE, clock=lambda: now_s)
            nothing = await looked(watch)
            assert (nothing.registrations, nothing.first_logins, nothing.issued, nothing.left) == (0, 0, 0, 3)
            assert (nothing.jobs_waiting, nothing.oldest_job_s, nothing.last_delay_s) == (0, 0.0, None)
            users = await enter(world.outside, campaign, 6)
            await log_in(world.outside, users[:2])
            waiting = await looked(watch)
            assert (waiting.registrations, waiting.first_logins, waiting.jobs_waiting) == (6, 0, 2)
            assert waiting.oldest_job_s > 0
            await grant(world)
            now_s += 10
            granted = await looked(watch)
            assert (granted.registrations, granted.first_logins, granted.issued, granted.left) == (6, 2, 2, 1)
            assert granted.last_delay_s is not None
            assert granted.last_delay_s > 0
            assert not granted.is_done
            await log_in(world.outside, users[2:])
            await enter(world.outside, campaign, 4)
            await grant(world)
            for _ in range(3):
                now_s += 10
                done = await looked(watch)
                assert (done.registrations, done.first_logins, done.issued, done.left) == (10, 6, 3, 0)
            assert (done.state, done.is_done) == (CampaignState.EXHAUSTED, True)

    asyncio.run(story())


def test_a_seat_that_is_held_is_neither_a_coupon_nor_left(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=3, rank_by="registration", seat_hours=1)
            users = await enter(world.outside, campaign, 2)
            await granting(world)()
            await log_in(world.outside, users[1:])
            await grant(world)
            look = await looked(PostgresCampaignWatch(world.pool, CODE))
            assert (look.issued, look.held, look.left, look.last_delay_s) == (1, 1, 1, None)

    asyncio.run(story())


def test_who_was_counted_for_a_while_is_not_read_again(database: str) -> None:
    """A look of one person each second must be nothing that everybody else notices, however many take part."""

    async def story() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=3)
            await log_in(world.outside, await enter(world.outside, campaign, 400))
            await do_jobs(world)
            now_s = 1_000.0
            watch = PostgresCampaignWatch(world.pool, CODE, clock=lambda: now_s)
            for _ in range(3):
                look = await looked(watch)
                assert (look.registrations, look.first_logins) == (400, 400)
                now_s += 6
            counted = [value for tally in (watch._registered, watch._logged_in) for value in (tally.beyond, tally.settles)]
            row = await world.pool.fetchrow("watch_campaign", CODE, *counted, 1)
            assert row is not None
            assert (row["registered"], row["logged_in"]) == (0, 0)

    asyncio.run(story())


@pytest.fixture
def settings(database: str, tmp_path: Path) -> dict[str, str]:
    return {
        "PRIMARY_DSN": database,
        "SIGNING_KEYS_FILE": str(tmp_path / "keys.json"),
        "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
    }


def test_it_ends_by_itself_when_the_last_coupon_is_gone(database: str, settings: dict[str, str]) -> None:
    async def sold_out() -> None:
        async with opened_world(database) as world:
            campaign = await make_campaign(world.outside, cap=1)
            await log_in(world.outside, await enter(world.outside, campaign, 2))
            await grant(world)

    asyncio.run(sold_out())
    words = ["campaigns", "watch", CODE.upper(), "--until-done", "--every", "0.2"]
    told = tidegate(*words, settings=settings)
    assert told.returncode == 0, told.stderr
    assert f"{CODE} exhausted: 2 registrations, 2 first logins, 1 of 1 coupons (0/s), 0 seats left, 0 held" in told.stdout
    (line,) = tidegate(*words, "--json", settings=settings).stdout.splitlines()
    assert json.loads(line) | {"at": "", "oldest_job_s": 0.0, "last_delay_s": 0.0} == {
        "at": "",
        "code": CODE,
        "state": "exhausted",
        "registrations": 2,
        "registrations_per_s": 0.0,
        "first_logins": 2,
        "first_logins_per_s": 0.0,
        "cap": 1,
        "issued": 1,
        "grants_per_s": 0.0,
        "left": 0,
        "held": 0,
        "jobs_waiting": 1,  # that tells the audit of the coupon
        "oldest_job_s": 0.0,
        "last_delay_s": 0.0,
    }


def test_what_is_not_there_cannot_be_watched(settings: dict[str, str]) -> None:
    told = tidegate("campaigns", "watch", "nowhere", settings=settings)
    assert (told.returncode, told.stdout) == (65, "")
    assert told.stderr == "tidegate: there is no campaign nowhere; `tidegate campaigns list` names them\n"
    told = tidegate("campaigns", "watch", "no where", settings=settings)
    assert (told.returncode, told.stdout) == (65, "")
    assert "a code has only a-z, 0-9 and hyphens" in told.stderr
