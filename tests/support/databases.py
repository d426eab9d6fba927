"""Databases of the test server: made, copied and dropped."""

import asyncio
import itertools
import os

import asyncpg

from tidegate.embedded.postgres import EmbeddedPostgres

_numbers = itertools.count(1)


def make_database(server: EmbeddedPostgres, *, template: str | None = None) -> str:
    """The name of a new database, empty or a copy of *template*."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    copied = f' TEMPLATE "{template}"' if template else ""
    _execute(server, f'CREATE DATABASE "{name}"{copied}')
    return name


def drop_database(server: EmbeddedPostgres, name: str) -> None:
    """Drop *name*, whoever is still connected."""
    _execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(server: EmbeddedPostgres, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(server.dsn("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute())
