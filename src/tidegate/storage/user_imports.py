"""Many users at once into PostgreSQL by COPY, and all of them out of it, each on a connection of its own."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from tidegate.domain.errors import FieldFault
from tidegate.domain.user_imports import ImportProgress, RefusedLine
from tidegate.ports.user_imports import BatchLost, ImportElsewhere
from tidegate.storage.connections import Driver, connect
from tidegate.storage.failures import failure, is_passing, unavailable
from tidegate.storage.statements import statements

_STATEMENT_S_MAX: Final = 60.0
"""Of a batch: who adds one of its names at the same moment is waited for, and a node that decides alone (ADR 0014)."""

_EXPORT_S_MAX: Final = 86_400.0
"""Of the one statement that reads everybody, as fast as its reader takes."""

_COPY_BYTES: Final = 524_288
"""How much is handed over at once."""

_SORTED_IN_MEMORY: Final = "SET LOCAL work_mem = '32MB'"
"""A batch; no file is written for it."""

APPLICATION_NAME: Final = "tidegate import"

_NAMES: Final = ("userid", "username", "email", "phone_number")


@asynccontextmanager
async def open_user_imports(
    *, dsn: str, connect_timeout_s: float, digest: bytes, is_rehearsed: bool
) -> AsyncIterator["PostgresUserImports"]:
    """Open a connection to the primary for one import.

    Args:
        dsn: Of the primary, not through a pooler: the import has tables of its session.
        connect_timeout_s: For the whole of connecting.
        digest: Of the file.
        is_rehearsed: Nobody is to be added; only tables of the session are written.

    Raises:
        DatabaseUnavailable: It cannot be had.
    """
    driver = await connect(
        dsn, connect_timeout_s=connect_timeout_s, statement_timeout_s=_STATEMENT_S_MAX, application_name=APPLICATION_NAME
    )
    try:
        with _troubles("make_imported"):
            await driver.execute(statements()["make_imported"])
            if is_rehearsed:
                await driver.execute(statements()["make_rehearsed"])
        yield PostgresUserImports(driver, digest, is_rehearsed=is_rehearsed)
    finally:
        # Politely would take a while, and what was not committed ends with it in any case.
        driver.terminate()


class PostgresUserImports:
    """Implements `ports.user_imports.UserImports`, for one file."""

    def __init__(self, driver: Driver, digest: bytes, *, is_rehearsed: bool) -> None:
        self._driver = driver
        self._digest = digest
        self._is_rehearsed = is_rehearsed

    async def forget(self) -> None:
        """Let the file be as if nobody had ever begun with it; whom it added stays."""
        with _troubles("forget_import"):
            await self._driver.fetch(statements()["forget_import"], self._digest)

    async def begin(self, progress: ImportProgress) -> ImportProgress:
        """See `ports.user_imports.UserImports.begin`. A rehearsal goes through the whole file, whoever has begun."""
        if self._is_rehearsed:
            return progress
        with _troubles("begin_import"):
            await self._driver.fetch(statements()["begin_import"], self._digest, progress.bytes_done, progress.lines_done)
            row = await self._driver.fetchrow(statements()["import_progress"], self._digest)
        if row is None:  # forgotten at this moment
            raise ImportElsewhere
        return ImportProgress(**dict(row))

    @asynccontextmanager
    async def batch(self, before: ImportProgress) -> AsyncIterator["_Batch"]:
        """See `ports.user_imports.UserImports.batch`."""
        with _troubles("import"):
            async with self._driver.transaction():
                await self._driver.execute(_SORTED_IN_MEMORY)
                if not self._is_rehearsed:
                    row = await self._driver.fetchrow(statements()["take_import"], self._digest)
                    if row is None or row["bytes_done"] != before.bytes_done:
                        raise ImportElsewhere
                yield _Batch(self._driver, self._digest, is_rehearsed=self._is_rehearsed)


class _Batch:
    """Implements `ports.user_imports.ImportBatch`."""

    def __init__(self, driver: Driver, digest: bytes, *, is_rehearsed: bool) -> None:
        self._driver = driver
        self._digest = digest
        self._is_rehearsed = is_rehearsed

    async def add(self, rows: bytes) -> Sequence[RefusedLine]:
        """See `ports.user_imports.ImportBatch.add`."""
        if not rows:
            return ()
        add, why_not = (
            ("rehearse_imported", "why_not_rehearsed") if self._is_rehearsed else ("add_imported", "why_not_imported")
        )
        await self._driver.copy_to_table("imported", source=_pieces(rows), format="text", encoding="utf-8")
        taken = [row["line"] for row in await self._driver.fetch(statements()[add])]
        if not taken:
            return ()
        return [
            RefusedLine(
                row["line"],
                # Whoever was in the way may have gone meanwhile: the line is refused all the same.
                tuple(FieldFault(name, "taken") for name in _NAMES if row[name]) or (FieldFault("line", "taken"),),
            )
            for row in await self._driver.fetch(statements()[why_not], taken)
        ]

    async def note(self, progress: ImportProgress, *, is_last: bool) -> None:
        """See `ports.user_imports.ImportBatch.note`."""
        if self._is_rehearsed:
            return
        await self._driver.fetch(
            statements()["note_import"],
            self._digest,
            progress.bytes_done,
            progress.lines_done,
            progress.added,
            progress.refused,
            is_last,
        )


async def _pieces(rows: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(rows), _COPY_BYTES):
        yield rows[begin : begin + _COPY_BYTES]


Taker = Callable[[bytes], Coroutine[Any, Any, None]]
"""Takes the next piece; the one after it is not read before."""


async def export_users(take: Taker, *, dsn: str, connect_timeout_s: float, is_csv: bool, with_hashes: bool) -> int:
    """Hand over everybody as they were at one moment, piece by piece, and return how many there are.

    Args:
        take: Gets CSV with a header, or one JSON object a line.
        dsn: Of the primary.
        connect_timeout_s: For the whole of connecting.
        is_csv: Which of the two.
        with_hashes: The stored passwords are to be among the fields.

    Raises:
        DatabaseUnavailable: What was handed over is not whole.
    """
    driver = await connect(
        dsn, connect_timeout_s=connect_timeout_s, statement_timeout_s=_EXPORT_S_MAX, application_name="tidegate export"
    )
    statement = f"users{'_and_hashes' if with_hashes else ''}_as_{'csv' if is_csv else 'json'}"
    query = statements()[statement].rstrip(";")
    try:
        with _troubles(statement):
            if is_csv:
                tag = await driver.copy_from_query(query, output=take, format="csv", header=True, encoding="utf-8")
            else:
                # CSV whose quote and delimiter never stand in JSON, which escapes them: the lines come as they are.
                tag = await driver.copy_from_query(
                    query, output=take, format="csv", quote="\x01", delimiter="\x02", encoding="utf-8"
                )
    finally:
        driver.terminate()
    return int(tag.rpartition(" ")[2])


@contextlib.contextmanager
def _troubles(statement: str) -> Iterator[None]:
    """Make the driver's errors ours; what PostgreSQL says of an error may hold a hash, so none of it is passed on."""
    try:
        yield
    except asyncpg.TransactionRollbackError:
        raise BatchLost from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        # The driver's own errors are of a connection that has ended: what is asked here is always the same.
        if is_passing(error) or isinstance(error, asyncpg.InterfaceError):
            raise unavailable() from None
        raise failure(error, statement) from None
