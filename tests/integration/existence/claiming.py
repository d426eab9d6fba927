"""A keeper, as the tests start it, that stops itself (SIGSTOP) at the moment when all who add users wait for it."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import patch

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from tests.integration.existence.worlds import NOTE
from tidegate.storage.existence import open_existence_database
from tidegate.storage.statements import statements

_fetch = asyncpg.Connection.fetch
_get_statement: Any = vars(asyncpg.Connection)["_get_statement"]


async def stop_after_stopping_others(self: "asyncpg.Connection[asyncpg.Record]", query: str, *args: Any) -> Any:
    """`asyncpg.Connection.fetch`, but for the statement that stops all writers it comes back late, if ever."""
    rows = await _fetch(self, query, *args)
    if query == statements()["stop_existence_writers"]:
        _stop()
    return rows


async def stop_after_preparing(self: "asyncpg.Connection[asyncpg.Record]", query: str, *args: Any, **named: Any) -> Any:
    """Likewise where the statement after it is prepared, if it is only then."""
    prepared = await _get_statement(self, query, *args, **named)
    if query in (statements()["claim_existence"], statements()["win_existence"]) and self.is_in_transaction():
        _stop()
    return prepared


async def stop_before_asking(*_: object) -> None:
    """Likewise where it was prepared before."""
    _stop()


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


async def main() -> None:
    """Words: a DSN; `claim` or `win`: what to be stopped in; `locked` or `prepared`: after what."""
    async with open_existence_database(dsn=sys.argv[1], connect_timeout_s=5.0) as database, AsyncExitStack() as patched:
        if sys.argv[2] == "win":
            assert await database.claim(NOTE)
        if sys.argv[3] == "locked":
            patched.enter_context(patch.object(asyncpg.Connection, "fetch", stop_after_stopping_others))
        else:
            patched.enter_context(patch.object(asyncpg.Connection, "_get_statement", stop_after_preparing))
            patched.enter_context(patch.object(PreparedStatement, "fetchrow", stop_before_asking))
        await (database.claim(NOTE) if sys.argv[2] == "claim" else database.win(NOTE))


if __name__ == "__main__":
    asyncio.run(main())
