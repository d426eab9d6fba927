"""Databases of the test server: made, migrated and dropped."""

import asyncio
import functools
import itertools
import os

import asyncpg

from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.migrations.runner import Runner

_numbers = itertools.count(1)


def make_database(server: EmbeddedPostgres, *, template: str | None = None) -> str:
    """The name of a new database, empty or a copy of *template*."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    copied = f' TEMPLATE "{template}"' if template else ""
    _execute(server, f'CREATE DATABASE "{name}"{copied}')
    return name


def make_migrated_database(server: EmbeddedPostgres) -> str:
    """The name of a new database with our tables in it, as a copy: migrating each would take longer than most tests."""
    return make_database(server, template=_template(server))


@functools.cache
def _template(server: EmbeddedPostgres) -> str:
    name = make_database(server)
    asyncio.run(Runner(server.dsn(name)).up())
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
