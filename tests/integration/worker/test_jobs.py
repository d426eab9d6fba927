"""Each job takes effect once, whatever is killed when, and last_login says when the latest login was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.contract.sessions import add_user, new_session, open_session
from tests.integration.storage.worlds import PostgresWorld, bystander, opened_pool, opened_world, until
from tests.unit.worker.test_hands import Heard
from tidegate.domain.jobs import RECORDED, JobKind
from tidegate.storage.jobs import PostgresJobs
from tidegate.usecases.clean_up_sessions import CleanUpSessions
from tidegate.usecases.record_events import RecordEvents
from tidegate.worker.hands import Hands
from tidegate.worker.lanes import Lane
from tidegate.worker.loop import Rounds, WorkerLoop

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


async def put(world: PostgresWorld, user_id: UUID, at: datetime, *, kind: str = "login_succeeded") -> None:
    """A job as a login would put it, at a time of the test's choice."""
    await world.outside.execute("INSERT INTO jobs (kind, user_id, created_at) VALUES ($1, $2, $3)", kind, user_id, at)


async def set_for_database(outside: "asyncpg.Connection[asyncpg.Record]", setting: str, value: str) -> None:
    """For every connection from now on."""
    name = await outside.fetchval("SELECT current_database()")
    await outside.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")


async def do_jobs(world: PostgresWorld, *, at_most: int = 500) -> int:
    """One round of a worker; how many jobs it did."""
    async with PostgresJobs(world.pool).take([JobKind.LOGIN_SUCCEEDED], at_most=at_most) as batch:
        await RecordEvents(welcomes=False)(batch)
    return len(batch.jobs) - len(batch.kept)


def hands_of(world: PostgresWorld) -> Hands:
    """Of a worker without a queue."""
    lane = Lane(name="records", kinds=RECORDED, do=RecordEvents(welcomes=False), at_once_max=500, parallel=1, tries_max=3)
    return Hands(lane, jobs=PostgresJobs(world.pool), carrier=None, watcher=Heard())


async def last_login(world: PostgresWorld, user_id: UUID) -> datetime | None:
    profile = await world.users.profile(user_id)
    assert profile is not None
    return profile.last_login


@asynccontextmanager
async def working(world: PostgresWorld) -> AsyncIterator[WorkerLoop]:
    """A worker that runs, and what failed in it."""
    hands = hands_of(world)
    clean_up = CleanUpSessions(sessions=world.sessions, dead_for_s=60, at_most=3)
    loop = WorkerLoop([Rounds(work=hands.work, rest_s=0.01), Rounds(work=clean_up, rest_s=0.01)], on_failure=lambda _: None)
    running = asyncio.create_task(loop.run())
    try:
        yield loop
    finally:
        loop.stop()
        async with asyncio.timeout(30):
            await running


def test_a_login_becomes_the_users_last_login(database: str) -> None:
    async def log_in() -> None:
        async with opened_world(database) as world:
            bob, ann = await add_user(world), await add_user(world)
            await open_session(world, bob)
            (job,) = await world.jobs()
            assert await do_jobs(world) == 1
            assert await last_login(world, bob) == job.at
            assert await last_login(world, ann) is None
            assert await world.jobs() == []
            assert await do_jobs(world) == 0

    asyncio.run(log_in())


def test_the_column_holds_utc_whatever_the_servers_time_zone(database: str) -> None:
    async def record() -> None:
        async with bystander(database) as outside:
            await outside.execute(
                f"ALTER DATABASE {database.partition('@/')[2].partition('?')[0]} SET timezone = 'Asia/Tokyo'"
            )
        async with opened_world(database) as world:
            bob = await add_user(world)
            await put(world, bob, NOON.astimezone(UTC))
            await do_jobs(world)
            assert await world.outside.fetchval("SELECT last_login FROM users") == NOON.replace(tzinfo=None)
            assert await last_login(world, bob) == NOON

    asyncio.run(record())


def test_the_latest_of_many_logins_counts_and_time_never_goes_back(database: str) -> None:
    async def record() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            for minutes in (3, 9, 6):
                await put(world, bob, NOON + timedelta(minutes=minutes))
            assert await do_jobs(world) == 3
            assert await last_login(world, bob) == NOON + timedelta(minutes=9)
            await put(world, bob, NOON)
            assert await do_jobs(world) == 1
            assert await last_login(world, bob) == NOON + timedelta(minutes=9)

    asyncio.run(record())


def test_the_oldest_jobs_go_first_and_a_batch_is_bounded(database: str) -> None:
    async def record() -> None:
        async with opened_world(database) as world:
            users = [await add_user(world) for _ in range(5)]
            for user_id in users:
                await put(world, user_id, NOON)
            assert await do_jobs(world, at_most=3) == 3
            assert [job.user_id for job in await world.jobs()] == users[3:]

    asyncio.run(record())


def test_the_job_of_a_user_who_is_gone_is_done(database: str) -> None:
    async def record() -> None:
        async with opened_world(database) as world:
            await put(world, uuid4(), NOON)
            bob = await add_user(world)
            await put(world, bob, NOON)
            assert await do_jobs(world) == 2
            assert await last_login(world, bob) == NOON

    asyncio.run(record())


def test_a_job_of_a_kind_that_only_a_newer_release_knows_stays_and_holds_nobody_up(database: str) -> None:
    async def record() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            await put(world, bob, NOON, kind="grant_coupon")
            await put(world, bob, NOON)
            assert await do_jobs(world, at_most=1) == 1
            assert await last_login(world, bob) == NOON
            assert await world.outside.fetchval("SELECT array_agg(kind) FROM jobs WHERE kind <> 'user_registered'") == [
                "grant_coupon"
            ]

    asyncio.run(record())


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_worker_that_dies_after_the_effect_and_before_the_commit_has_done_nothing(
    database: str, is_cancelled: bool
) -> None:
    class Killed(BaseException):
        """Nobody catches it."""

    async def die(world: PostgresWorld) -> None:
        async with PostgresJobs(world.pool).take([JobKind.LOGIN_SUCCEEDED], at_most=10) as batch:
            await RecordEvents(welcomes=False)(batch)
            if is_cancelled:
                await asyncio.Event().wait()
            raise Killed

    async def record() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            await put(world, bob, NOON)
            with pytest.raises((Killed, TimeoutError)):
                await asyncio.wait_for(die(world), 0.2)
            await until(lambda: _are_unlocked(world, 1))
            assert await last_login(world, bob) is None
            assert len(await world.jobs()) == 1
            await hands_of(world).work()
            assert await last_login(world, bob) == NOON

    asyncio.run(record())


def test_several_workers_do_each_job_once_and_do_not_deadlock(database: str) -> None:
    async def work(world: PostgresWorld) -> int:
        done = 0
        while await world.pool.fetch("take_jobs", ["login_succeeded"], 1, 0):
            done += await do_jobs(world, at_most=50)
        return done

    async def record() -> None:
        async with opened_world(database) as world:
            users = [await add_user(world) for _ in range(30)]
            for n in range(900):
                await put(world, users[n * 7 % 30], NOON + timedelta(seconds=n))
            done = await asyncio.gather(*(work(world) for _ in range(4)))
            assert sum(done) == 900
            assert await world.jobs() == []
            latest = {await last_login(world, user_id) for user_id in users}
            assert latest == {NOON + timedelta(seconds=n) for n in range(870, 900)}

    asyncio.run(record())


def test_two_batches_that_share_users_in_opposite_order_do_not_deadlock(database: str) -> None:
    async def record() -> None:
        async with bystander(database) as outside:
            # As with millions of users: each is looked up in the order of the batch.
            for plan in ("hashjoin", "mergejoin", "seqscan"):
                await set_for_database(outside, f"enable_{plan}", "off")
        async with opened_world(database) as world:
            users = [await add_user(world) for _ in range(200)]
            for n in range(20):
                at = [NOON + timedelta(seconds=n)] * len(users)
                await asyncio.gather(*(world.pool.fetch("record_last_logins", order, at) for order in (users, users[::-1])))

    asyncio.run(record())


def test_a_running_worker_does_jobs_and_cleans_up_and_stops(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            for _ in range(10):
                await world.sessions.revoke(await open_session(world, bob))
            await world.let_pass(61)
            kept = new_session(bob)
            await world.sessions.open(kept, relied_on="stored")
            async with working(world) as loop:
                await until(lambda: _is_idle(world, sessions=1))
                assert loop.overdue_s < 30
            assert await world.sessions.is_live(kept.session_id)

    asyncio.run(run())


def test_a_running_worker_survives_the_loss_of_its_connections(database: str) -> None:
    async def run() -> None:
        async with opened_world(database) as world, working(world):
            bob = await add_user(world)
            for n in range(3):
                await world.outside.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'tidegate' AND datname = current_database()"
                )
                await put(world, bob, NOON + timedelta(seconds=n))
                await until(lambda: _is_idle(world, sessions=0))
            async with opened_pool(database) as pool:
                assert await last_login(PostgresWorld(pool, world.outside), bob) == NOON + timedelta(seconds=2)

    asyncio.run(run())


async def _are_unlocked(world: PostgresWorld, jobs: int) -> bool:
    found = await world.outside.fetch("SELECT job_id FROM jobs WHERE kind = 'login_succeeded' FOR UPDATE SKIP LOCKED")
    return len(found) == jobs


async def _is_idle(world: PostgresWorld, *, sessions: int) -> bool:
    return not await world.outside.fetchval("SELECT count(*) FROM jobs") and await world.count() == sessions
