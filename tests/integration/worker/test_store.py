"""The store of jobs in PostgreSQL keeps its contract, and passes nothing over, whatever commits when."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.contract.jobs import Died, JobsContract, end_in_the_middle
from tests.contract.sessions import add_user, new_session, open_session
from tests.integration.storage.worlds import PostgresWorld, bystander, opened_world
from tidegate.domain.claims import RefreshGrant
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.jobs import RECORDED, JobKind
from tidegate.storage.jobs import JobAdministration, PostgresJobs
from tidegate.storage.statements import statements
from tidegate.usecases.record_events import RecordEvents


class StoreWorld:
    def __init__(self, world: PostgresWorld) -> None:
        self.jobs = PostgresJobs(world.pool)
        self._outside = world.outside

    async def put(self, kind: str, user_id: UUID) -> int:
        put: int = await self._outside.fetchval(
            "INSERT INTO jobs (kind, user_id) VALUES ($1, $2) RETURNING job_id", kind, user_id
        )
        return put

    async def let_pass(self, seconds: float) -> None:
        await self._outside.execute("UPDATE jobs SET due_at = due_at - $1::interval", timedelta(seconds=seconds))

    async def until_free(self) -> None:
        await self._outside.execute("SELECT FROM jobs FOR UPDATE")

    async def waiting(self) -> list[int]:
        return [
            row[0] for row in await self._outside.fetch("SELECT job_id FROM jobs WHERE kind <> 'welcome_due' ORDER BY 1")
        ]

    async def dead(self) -> dict[int, str]:
        return {row[0]: row[1] for row in await self._outside.fetch("SELECT job_id, error FROM dead_jobs")}

    async def audited(self) -> list[int]:
        return [row[0] for row in await self._outside.fetch("SELECT job_id FROM audit ORDER BY 1")]


class TestPostgresJobs(JobsContract):
    @pytest.fixture(autouse=True)
    def _use(self, database: str) -> None:
        self.dsn = database

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[StoreWorld]:
        async with opened_world(self.dsn) as world:
            yield StoreWorld(world)


def test_nothing_that_eight_writers_put_is_passed_over_in_whatever_order_they_commit(database: str) -> None:
    """Ids are given before the commit: who asks for "the ids beyond the last one" never sees those that came late."""

    async def write(seed: int) -> int:
        order = random.Random(seed)
        put = 0
        async with bystander(database) as outside:
            for _ in range(25):
                async with outside.transaction():
                    for _ in range(order.randint(1, 3)):
                        await outside.execute("INSERT INTO jobs (kind, user_id) VALUES ('login_succeeded', $1)", uuid4())
                        put += 1
                        await asyncio.sleep(order.random() * 0.01)
        return put

    async def story() -> None:
        async with opened_world(database) as world:
            jobs = PostgresJobs(world.pool)
            claimed: list[int] = []
            is_over = False

            async def claim() -> None:
                while True:
                    last = is_over
                    found = await jobs.claim(RECORDED, at_most=5, again_after_s=600)
                    claimed.extend(job.job_id for job in found)
                    if last and not found:
                        return

            claiming = [asyncio.create_task(claim()) for _ in range(2)]
            put = sum(await asyncio.gather(*(write(seed) for seed in range(8))))
            is_over = True
            await asyncio.gather(*claiming)
            assert len(claimed) == len(set(claimed)) == put
            assert claimed != sorted(claimed), "every writer committed in turn, so nothing was proven"

    asyncio.run(story())


def test_a_user_whose_row_is_held_holds_up_nobody_else(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            ann, bob = await add_user(world), await add_user(world)
            await world.outside.execute("DELETE FROM jobs")
            store = StoreWorld(world)
            kept, done = await store.put("login_succeeded", ann), await store.put("login_succeeded", bob)
            gone = await store.put("login_succeeded", uuid4())
            async with bystander(database) as other:
                async with other.transaction():
                    await other.execute("SELECT FROM users WHERE userid = $1 FOR UPDATE", ann)
                    async with store.jobs.take(RECORDED, at_most=10) as batch:
                        await RecordEvents(welcomes=False)(batch)
                    assert (await store.waiting(), await store.audited()) == ([kept], [done, gone])
                async with store.jobs.take(RECORDED, at_most=10) as batch:
                    await RecordEvents(welcomes=False)(batch)
            assert await store.audited() == [kept, done, gone]

    asyncio.run(story())


def test_what_happens_to_a_user_is_put_by_what_causes_it(database: str) -> None:
    async def kinds(world: PostgresWorld) -> list[str]:
        return [row["kind"] for row in await world.outside.fetch("DELETE FROM jobs RETURNING kind")]

    async def story() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            assert await kinds(world) == ["user_registered"]
            session = await open_session(world, bob)
            assert await kinds(world) == ["login_succeeded"]
            assert await world.sessions.revoke(session)
            assert not await world.sessions.revoke(session)
            assert await kinds(world) == ["session_revoked"]
            session = await open_session(world, bob)
            for _ in range(2):
                await world.sessions.rotate(RefreshGrant(session, 0))
            await world.sessions.rotate(RefreshGrant(session, 1))
            await world.sessions.rotate(RefreshGrant(session, 0))
            assert await kinds(world) == ["login_succeeded", "refresh_reused"]
            await open_session(world, bob)
            assert await world.sessions.change_password(new_session(bob), old="stored", stored="new")
            assert await kinds(world) == ["login_succeeded", "password_changed", "sessions_revoked"]
            await world.disable(bob)
            assert not await world.administration.disable(bob)
            assert await kinds(world) == ["user_disabled", "sessions_revoked"]
            assert await world.administration.enable(bob)
            await world.delete(bob)
            assert await kinds(world) == ["user_enabled", "user_deleted"]

    asyncio.run(story())


def test_old_records_go_batch_by_batch_and_young_ones_stay(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            await world.outside.execute(
                "INSERT INTO audit SELECT n, now() - make_interval(days => 10 - n), 'user_deleted', gen_random_uuid()"
                " FROM generate_series(1, 9) n"
            )
            jobs = PostgresJobs(world.pool)
            four_days_s = 4 * 86_400 + 60.0
            assert [await jobs.remove_old_audit(older_than_s=four_days_s, at_most=3) for _ in range(3)] == [3, 2, 0]
            assert await StoreWorld(world).audited() == [6, 7, 8, 9]

    asyncio.run(story())


def test_no_note_outlives_for_good_the_jobs_that_it_names_whoever_has_done_them(database: str) -> None:
    """Every batch reads all notes."""

    async def story() -> None:
        async with opened_world(database) as world:
            store = StoreWorld(world)
            alone, beside, robbed, last = [await store.put("login_succeeded", uuid4()) for _ in range(4)]
            await end_in_the_middle(store, [alone], DatabaseUnavailable)
            with pytest.raises(Died):  # noqa: PT012 - it has to be raised in the middle
                async with store.jobs.take_named(RECORDED, [alone, beside]) as batch:
                    suspected = list(batch.apart)
                    raise Died
            async with store.jobs.take_alone(suspected[0], again_after_s=5):  # though to set it apart was rolled back
                pass
            async with store.jobs.take_named(RECORDED, [beside]):
                pass
            await end_in_the_middle(store, [robbed], DatabaseUnavailable)
            await world.outside.execute(
                "DELETE FROM jobs WHERE job_id = $1", robbed
            )  # as a release does that notes nothing
            await end_in_the_middle(store, [last], DatabaseUnavailable)
            async with store.jobs.take_named(RECORDED, [last]):
                pass
            assert await world.outside.fetchval("SELECT count(*) FROM job_batches") == 0

    asyncio.run(story())


@pytest.mark.parametrize("rows", [20_000, pytest.param(1_000_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("plan", ["force_generic_plan", "force_custom_plan"])
def test_those_that_wait_long_are_not_read_by_who_looks_for_what_is_due(database: str, rows: int, plan: str) -> None:
    """A mail server that is away for an hour: greetings wait, some never tried, and records must not be slower by it."""

    async def blocks(outside: "asyncpg.Connection[asyncpg.Record]", statement: str, *values: str) -> int:
        await outside.execute(f"PREPARE asked AS {statements()[statement]}")
        explained = await outside.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked ({', '.join(values)})")
        await outside.execute("DEALLOCATE asked")
        (whole,) = json.loads(explained)
        read: int = whole["Plan"]["Shared Hit Blocks"] + whole["Plan"]["Shared Read Blocks"]
        return read

    async def story() -> None:
        async with bystander(database) as outside:
            await outside.execute(
                "INSERT INTO jobs (kind, user_id, due_at, tries, error)"
                " SELECT 'welcome_due', gen_random_uuid(), now() + interval '1 hour', 1, 'OSError'"
                f" FROM generate_series(1, {rows})"
            )
            await outside.execute(
                "INSERT INTO jobs (kind, user_id, due_at, tries) VALUES ('welcome_due', gen_random_uuid(), now(), 1)"
            )
            notices, records = "'{welcome_due}'", "'{login_succeeded,password_changed}'"
            await outside.execute(f"SET plan_cache_mode = {plan}; ANALYZE jobs")
            lanes = [(notices, "1")]
            for _ in range(2):
                for kinds, are_notices in lanes:
                    assert await blocks(outside, "take_jobs", kinds, "10", are_notices) < 100
                    assert await blocks(outside, "claim_jobs", kinds, "10", "'1 s'", are_notices) < 200
                await outside.execute(
                    "INSERT INTO jobs (kind, user_id) SELECT 'welcome_due', gen_random_uuid()"
                    f" FROM generate_series(1, {rows})"
                )
                await outside.execute("INSERT INTO jobs (kind, user_id) VALUES ('login_succeeded', gen_random_uuid())")
                await outside.execute("ANALYZE jobs")
                lanes.append((records, "0"))

    asyncio.run(story())


def test_whose_last_try_has_not_ended_is_tried_when_an_operator_wants_it_and_not_found_dead(database: str) -> None:
    """After its last try it waits for minutes; whoever takes it then tries it no more."""

    async def story() -> None:
        async with opened_world(database) as world:
            store, administration = StoreWorld(world), JobAdministration(world.pool)
            job = await store.put("login_succeeded", uuid4())
            await end_in_the_middle(store, [job], DatabaseUnavailable)
            async with store.jobs.take_named(RECORDED, [job]) as batch:
                (found,) = batch.apart
            with pytest.raises(DatabaseUnavailable):
                async with store.jobs.take_alone(found, again_after_s=600):
                    raise DatabaseUnavailable
            assert await administration.retry(job) == [job]
            async with store.jobs.take(RECORDED, at_most=10) as batch:
                assert [(each.job_id, each.tries) for each in batch.apart] == [(job, 0)]

    asyncio.run(story())


def test_an_operator_sees_jobs_and_lets_the_dead_be_tried_again_under_their_ids(database: str) -> None:
    async def story() -> None:
        async with opened_world(database) as world:
            store, administration = StoreWorld(world), JobAdministration(world.pool)
            fresh, failing, dead = [await store.put("login_succeeded", uuid4()) for _ in range(3)]
            await store.jobs.put_off(failing, tries=1, error="Died", again_after_s=600)
            await store.jobs.bury(dead, tries=1, error="Died")
            listed = await administration.listed(None, at_most=10)
            assert [(job.job_id, job.tries, job.error) for job in listed] == [
                (dead, 1, "Died"),
                (failing, 1, "Died"),
                (fresh, 0, None),
            ]
            assert [job.job_id for job in await administration.listed(failing, at_most=10)] == [failing]
            (stats,) = await administration.stats()
            assert (stats.kind, stats.waiting, stats.failing, stats.dead) == ("login_succeeded", 2, 1, 1)
            assert await administration.retry(fresh) == []
            assert await administration.retry(None) == [failing, dead]
            assert await store.dead() == {}
            found = await store.jobs.claim([JobKind.LOGIN_SUCCEEDED], at_most=10, again_after_s=1)
            assert {job.job_id: job.tries for job in found} == {fresh: 0, failing: 1, dead: 0}

    asyncio.run(story())
