"""The migrations make the schema that is written down, on every PostgreSQL, and take it back without a trace."""

import asyncio
from collections.abc import Callable
from importlib.resources import files

import asyncpg

from tests.migration.conftest import PROGRAMS, Server, run_sql, visiting
from tidegate.migrations.folder import packaged_migrations
from tidegate.migrations.runner import Runner
from tidegate.storage.statements import statements

ASKED_FOR = {
    "users": [
        ("userid", "uuid", True),
        ("username", "character varying(255)", False),
        ("email", "character varying(255)", False),
        ("phone_number", "character varying(255)", False),
        ("password", "character varying(512)", True),
        ("full_name", "character varying(255)", False),
        ("birth_date", "date", False),
        ("last_login", "timestamp without time zone", False),
        ("discount", "uuid[]", False),
    ],
    "coupons": [
        ("couponid", "uuid", True),
        ("code", "character varying(255)", True),
        ("discount", "numeric(5,2)", True),
        ("expiration_date", "date", False),
        ("created_at", "timestamp without time zone", True),
    ],
}


def test_eighteen_and_seventeen_are_at_hand() -> None:
    assert {"18", "17"} <= set(PROGRAMS)


def test_all_migrations_together_equal_the_schema_that_is_written_down(
    server: Server, new_database: Callable[[], str]
) -> None:
    migrated, written = new_database(), new_database()
    asyncio.run(Runner(migrated).up())
    run_sql(written, files("tidegate.storage").joinpath("schema.sql").read_text("utf-8"))
    assert server.dump(migrated) == server.dump(written)
    assert "CREATE TABLE public.users" in server.dump(migrated)


def test_down_after_up_leaves_nothing(server: Server, new_database: Callable[[], str]) -> None:
    migrated, empty = new_database(), new_database()
    runner = Runner(migrated)
    asyncio.run(runner.up())
    assert asyncio.run(runner.down(None)) == list(reversed(packaged_migrations()))
    assert server.dump(migrated) == server.dump(empty)
    left = run_sql(migrated, "SELECT oid FROM pg_class WHERE oid >= 16384 AND $1", True)
    assert left == []


def test_each_step_down_takes_back_just_its_own_step_up(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    runner = Runner(dsn)
    for migration in packaged_migrations():
        before = server.dump(dsn)
        asyncio.run(runner.up(migration.version))
        after = server.dump(dsn)
        asyncio.run(runner.down())
        assert server.dump(dsn) == before
        asyncio.run(runner.up(migration.version))
        assert server.dump(dsn) == after


def test_users_and_coupons_have_the_asked_for_columns_and_no_other(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    asyncio.run(Runner(dsn).up())
    for table, columns in ASKED_FOR.items():
        rows = run_sql(
            dsn,
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum",
            table,
        )
        assert [tuple(row) for row in rows] == columns


def test_every_statement_is_understood(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    asyncio.run(Runner(dsn).up())

    async def prepare_all() -> None:
        async with visiting(dsn) as connection:
            for table in ("make_imported", "make_rehearsed"):  # of the session that imports
                await connection.execute(statements()[table])
            for text in statements().values():
                await connection.prepare(text)

    asyncio.run(prepare_all())


def test_the_database_itself_keeps_the_identifiers_apart(server: Server, new_database: Callable[[], str]) -> None:
    dsn = new_database()
    asyncio.run(Runner(dsn).up())

    async def refused(column: str, value: str | None) -> bool:
        async with visiting(dsn) as connection:
            try:
                await connection.execute(
                    f"INSERT INTO users (userid, {column}, password) VALUES (gen_random_uuid(), $1, 'x')", value
                )
            except asyncpg.CheckViolationError:
                return True
        return False

    for column, value in (
        ("username", "bob@example"),
        ("username", "@"),
        ("username", "+4930"),
        ("username", "Bob"),
        ("username", "boB"),
        ("username", ""),
        ("username", None),
        ("email", "bob"),
        ("email", ""),
        ("email", "Bob@example.org"),
        ("phone_number", "4930123456"),
        ("phone_number", "+4"),
        ("phone_number", "+49 30"),
        ("phone_number", "+4930123456789012"),
        ("phone_number", "+49\n"),
        ("phone_number", "+49301234x"),
    ):
        assert asyncio.run(refused(column, value)), (column, value)
    for column, value in (
        ("username", "b"),
        ("username", "bob+1"),
        ("username", "straße.ß\n"),
        ("username", "49301234"),
        ("email", "+49@example.org"),
        ("phone_number", "+493012345678901"),
    ):
        assert not asyncio.run(refused(column, value)), (column, value)
