"""A connection opens on every version that we support, with every limit that this version knows."""

import asyncio
from collections.abc import Callable

from tidegate.storage.connections import connect


def test_a_transaction_is_limited_where_the_server_can_limit_it(new_database: Callable[[], str]) -> None:
    database = new_database()

    async def limits() -> tuple[int, str | None]:
        driver = await connect(database, connect_timeout_s=5, statement_timeout_s=3)
        try:
            limit: str | None = await driver.fetchval("SELECT current_setting('transaction_timeout', true)")
            return driver.get_server_version().major, limit
        finally:
            driver.terminate()

    major, limit = asyncio.run(limits())
    assert limit == ("12s" if major >= 17 else None)
