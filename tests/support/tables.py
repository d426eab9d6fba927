"""Looks into the tables and changes rows behind the program's back."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg


def rows(dsn: str, statement: str, *values: object) -> Sequence["asyncpg.Record"]:
    """Run *statement* in a transaction of its own and return its rows."""

    async def fetch() -> Sequence["asyncpg.Record"]:
        connection = await asyncpg.connect(dsn)
        try:
            found: Sequence[asyncpg.Record] = await connection.fetch(statement, *values)
            return found
        finally:
            await connection.close()

    return asyncio.run(fetch())


def value(dsn: str, statement: str, *values: object) -> Any:
    """The first value of the one row that *statement* returns."""
    (row,) = rows(dsn, statement, *values)
    return row[0]


def change(dsn: str, statement: str, *values: object) -> int:
    """Run *statement*, which changes rows, and return how many it changed."""

    async def execute() -> str:
        connection = await asyncpg.connect(dsn)
        try:
            tag: str = await connection.execute(statement, *values)
            return tag
        finally:
            await connection.close()

    return int(asyncio.run(execute()).rpartition(" ")[2])
