"""The databases that tests are given."""

import asyncio

import asyncpg


def tables(dsn: str) -> set[str]:
    async def fetch() -> set[str]:
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            return {row["tablename"] for row in rows}
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_a_database_is_migrated(database: str) -> None:
    assert {"users", "coupons"} <= tables(database)


def test_an_empty_database_is_empty(empty_database: str) -> None:
    assert tables(empty_database) == set()


def test_two_fixtures_are_two_databases(database: str, empty_database: str) -> None:
    assert database != empty_database
