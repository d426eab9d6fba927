"""A keeper, as the tests start it, that stops itself (SIGSTOP) at the moment when all who add users wait for it."""

import asyncio
import os
import signal
import sys
from typing import Any
from unittest.mock import patch

import asyncpg

from tests.integration.existence.worlds import NOTE
from tidegate.storage.existence import open_existence_database
from tidegate.storage.statements import statements

_fetch = asyncpg.Connection.fetch


async def stop_after_stopping_others(self: "asyncpg.Connection[asyncpg.Record]", query: str, *args: Any) -> Any:
    """`asyncpg.Connection.fetch`, but for the statement that stops all writers it comes back late, if ever."""
    rows = await _fetch(self, query, *args)
    if query == statements()["stop_existence_writers"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    return rows


async def main() -> None:
    """Words: a DSN, and `claim` or `win`: what to be stopped in."""
    async with open_existence_database(dsn=sys.argv[1], connect_timeout_s=5.0) as database:
        if sys.argv[2] == "win":
            assert await database.claim(NOTE)
        with patch.object(asyncpg.Connection, "fetch", stop_after_stopping_others):
            await (database.claim(NOTE) if sys.argv[2] == "claim" else database.win(NOTE))


if __name__ == "__main__":
    asyncio.run(main())
