"""Migrations happen once, wholly or not at all, and never on a schema that they do not know."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from tests.migration.conftest import Server, run_sql, until, visiting
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.migrations.errors import (
    MigrationBlocked,
    MigrationChanged,
    MigrationFailed,
    SchemaNewerThanProgram,
    SchemaOlderThanProgram,
    UnknownMigration,
)
from tidegate.migrations.folder import Migration, packaged_migrations
from tidegate.migrations.runner import Runner

OURS = packaged_migrations()
LAST = OURS[-1].version
NEXT = f"{int(LAST) + 1:04}"


def migration(version: str, up: str, *, name: str = "pre_more", down: str = "") -> Migration:
    return Migration(version=version, name=name, up=up, down=down, checksum=version * 16)


def table_exists(dsn: str, table: str) -> bool:
    return bool(run_sql(dsn, "SELECT WHERE to_regclass($1) IS NOT NULL", table))


def test_up_applies_in_order_and_only_what_is_missing(server: Server, new_database: Callable[[], str]) -> None:
    runner = Runner(new_database())
    assert [m.version for m in asyncio.run(runner.up("0001"))] == ["0001"]
    assert [m.version for m in asyncio.run(runner.up())] == [m.version for m in OURS[1:]]
    assert asyncio.run(runner.up()) == []


def test_status_tells_where_each_migration_stands(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    runner = Runner(dsn)
    assert {status.applied_at for status in asyncio.run(runner.status())} == {None}
    assert not table_exists(dsn, "schema_migrations")
    asyncio.run(runner.up("0002"))
    statuses = asyncio.run(runner.status())
    assert [(s.version, s.applied_at is not None, s.is_known) for s in statuses] == [
        ("0001", True, True),
        ("0002", True, True),
        *((m.version, False, True) for m in OURS[2:]),
    ]


def test_four_runners_at_once_apply_each_migration_once(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()

    async def race() -> list[list[Migration]]:
        return await asyncio.gather(*(Runner(dsn).up() for _ in range(4)))

    applied = [m.version for one in asyncio.run(race()) for m in one]
    assert sorted(applied) == [m.version for m in OURS]


def test_a_runner_gives_up_on_another_that_does_not_finish(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    slow = Runner(dsn, migrations=[migration("0001", "SELECT pg_sleep(30)")])

    async def meet() -> None:
        async with visiting(dsn) as visitor:
            first = asyncio.create_task(slow.up())
            await until(lambda: _is_asleep(visitor))
            with pytest.raises(MigrationBlocked):
                await Runner(dsn, patience_s=0.1).up()
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    asyncio.run(meet())


def test_a_runner_that_is_cut_off_leaves_nothing_half_done(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    cut = Runner(dsn, migrations=[migration("0001", "CREATE TABLE half (id int); SELECT pg_sleep(30)")])

    async def cut_off() -> None:
        async with visiting(dsn) as visitor:
            running = asyncio.create_task(cut.up())
            await until(lambda: _is_asleep(visitor))
            await visitor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            with pytest.raises(DatabaseUnavailable):
                await running

    asyncio.run(cut_off())
    assert not table_exists(dsn, "half")
    assert not table_exists(dsn, "schema_migrations")
    assert len(asyncio.run(Runner(dsn).up())) == len(OURS)


def test_a_migration_that_fails_leaves_nothing_of_itself(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    runner = Runner(dsn, migrations=[*OURS, migration(NEXT, "CREATE TABLE half (id int); SELECT 1 / 0")])
    with pytest.raises(MigrationFailed) as failed:
        asyncio.run(runner.up())
    assert (failed.value.version, failed.value.reason) == (NEXT, "division by zero")
    assert not table_exists(dsn, "half")
    asyncio.run(Runner(dsn).check())


def test_a_migration_gives_way_to_traffic_and_then_gives_up(server: Server, new_database: Callable[[], str]) -> None:
    """One that waits for its lock without end holds up all traffic behind it."""
    dsn = new_database()
    asyncio.run(Runner(dsn).up())
    more = [*OURS, migration(NEXT, "CREATE TABLE more (id int); ALTER TABLE jobs ADD COLUMN more int")]

    async def meet() -> None:
        async with visiting(dsn) as traffic, visiting(dsn) as visitor:
            await traffic.execute("BEGIN; LOCK TABLE jobs IN ACCESS SHARE MODE")
            with pytest.raises(MigrationBlocked) as blocked:
                await Runner(dsn, migrations=more, lock_timeout_s=0.02, attempts=2, attempt_pause_s=0.01).up()
            assert blocked.value.version == NEXT
            patient = Runner(dsn, migrations=more, lock_timeout_s=0.02, attempts=10_000, attempt_pause_s=0.01)
            waiting = asyncio.create_task(patient.up())
            await until(lambda: _is_kept_waiting(visitor))
            await traffic.execute("COMMIT")
            assert [m.version for m in await waiting] == [NEXT]

    asyncio.run(meet())


def test_where_each_waits_for_a_table_of_the_other_it_is_the_migration_that_gives_way(
    server: Server, new_database: Callable[[], str]
) -> None:
    """After its deadlock_timeout PostgreSQL would fail whoever waited first: the traffic."""
    dsn = new_database()
    asyncio.run(Runner(dsn).up())
    more = [*OURS, migration(NEXT, "LOCK TABLE sessions; SELECT pg_sleep(0.5); LOCK TABLE users")]

    async def meet() -> None:
        async with visiting(dsn) as traffic, visiting(dsn) as visitor:
            await traffic.execute("BEGIN; LOCK TABLE users IN ROW SHARE MODE")
            migrating = asyncio.create_task(Runner(dsn, migrations=more, attempt_pause_s=0.01).up())
            await until(lambda: _has_locked(visitor, "sessions"))
            await traffic.execute("LOCK TABLE sessions IN ROW EXCLUSIVE MODE; COMMIT")
            assert [m.version for m in await migrating] == [NEXT]

    asyncio.run(meet())


def test_a_newer_schema_is_neither_migrated_nor_worked_on(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    newer = [*OURS, migration(NEXT, "CREATE TABLE later (id int)", name="post_later", down="DROP TABLE later")]
    asyncio.run(Runner(dsn, migrations=newer).up())
    older = Runner(dsn)
    for refused in (older.up, older.down, older.check):
        with pytest.raises(SchemaNewerThanProgram) as error:
            asyncio.run(refused())
        assert error.value.versions == (NEXT,)
    assert table_exists(dsn, "later")
    assert [(s.version, s.is_known) for s in asyncio.run(older.status())][-1] == (NEXT, False)


def test_the_running_release_starts_again_on_what_it_is_promised_to_survive(
    server: Server, new_database: Callable[[], str]
) -> None:
    dsn = new_database()
    asyncio.run(Runner(dsn, migrations=[*OURS, migration(NEXT, "CREATE TABLE later (id int)", name="pre_later")]).up())
    asyncio.run(Runner(dsn).check())
    with pytest.raises(SchemaNewerThanProgram):
        asyncio.run(Runner(dsn).up())


def test_an_older_schema_is_not_worked_on(server: Server, new_database: Callable[[], str]) -> None:
    runner = Runner(new_database())
    with pytest.raises(SchemaOlderThanProgram) as error:
        asyncio.run(runner.check())
    assert error.value.versions == tuple(m.version for m in OURS)
    asyncio.run(runner.up("0001"))
    with pytest.raises(SchemaOlderThanProgram):
        asyncio.run(runner.check())
    asyncio.run(runner.up())
    asyncio.run(runner.check())


def test_an_applied_migration_that_reads_otherwise_now_is_refused(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    asyncio.run(Runner(dsn).up("0002"))
    edited = [OURS[0], migration("0002", OURS[1].up, name=OURS[1].name), *OURS[2:]]
    runner = Runner(dsn, migrations=edited)
    for refused in (runner.up, runner.down):
        with pytest.raises(MigrationChanged) as error:
            asyncio.run(refused())
        assert error.value.version == "0002"
    assert not table_exists(dsn, "jobs")


def test_a_version_that_does_not_exist_is_refused(server: Server, new_database: Callable[[], str]) -> None:
    with pytest.raises(UnknownMigration):
        asyncio.run(Runner(new_database()).up("0099"))


def test_down_takes_back_the_last_steps_only(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    runner = Runner(dsn)
    asyncio.run(runner.up())
    assert asyncio.run(runner.down(len(OURS) - 1)) == list(OURS[:0:-1])
    assert table_exists(dsn, "users")
    assert not table_exists(dsn, "sessions")
    assert asyncio.run(runner.down()) == [OURS[0]]
    assert asyncio.run(runner.down()) == []


def test_a_database_that_is_not_there_is_unavailable(server: Server, new_database: Callable[[], str]) -> None:
    gone = server.postgres.dsn("no_such_database")
    for tried in (Runner(gone).up, Runner(gone).status, Runner("postgresql://tidegate@127.0.0.1:1/tidegate").check):
        with pytest.raises(DatabaseUnavailable):
            asyncio.run(tried())


async def _is_asleep(visitor: "asyncpg.Connection[asyncpg.Record]") -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())"
    return bool(await visitor.fetchval(query))


async def _is_kept_waiting(visitor: "asyncpg.Connection[asyncpg.Record]") -> bool:
    return bool(await visitor.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))


async def _has_locked(visitor: "asyncpg.Connection[asyncpg.Record]", table: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = $1::regclass AND granted AND mode ~ 'AccessEx')"
    return bool(await visitor.fetchval(query, table))
