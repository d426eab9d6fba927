"""Brings the schema up and down, once, however many nodes start at the same moment.

Each migration and its row in the ledger are one transaction: killed anywhere, it has happened wholly or not at all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute

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

_LOCK_KEY: Final = 0x7469_6465_6761_7465
"""Of the advisory lock that one runner holds at a time: "tidegate" in ASCII."""

_LOCK_POLL_S: Final = 0.1

_CONNECT_TIMEOUT_S: Final = 5.0

_CREATE_LEDGER: Final = """\
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    varchar(32) PRIMARY KEY,
    name       varchar(255) NOT NULL,
    checksum   char(64) NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""

Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""How the driver says that the database cannot be reached, does not let us in, or has just gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One row of the ledger."""

    version: str
    name: str
    checksum: str
    applied_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """Where one migration stands.

    Attributes:
        applied_at: None when the database has not had it.
        is_known: False when this program does not have it.
    """

    version: str
    name: str
    applied_at: datetime | None
    is_known: bool


_Step: TypeAlias = Callable[[Driver, Migration], Awaitable[None]]


class Runner:
    """Applies and takes back migrations on one database."""

    def __init__(
        self,
        dsn: str,
        *,
        migrations: Sequence[Migration] | None = None,
        lock_timeout_s: float = 0.2,
        attempts: int = 40,
        attempt_pause_s: float = 1.0,
        patience_s: float = 120.0,
    ) -> None:
        """Nothing is connected before it is asked for something.

        Args:
            dsn: Of the primary, for a role that may create tables.
            migrations: In their order; None: those of this program.
            lock_timeout_s: How long a migration waits for a lock on a table. All traffic on the table queues behind it, so
                it gives way and tries again rather than wait. Traffic may hold one table while it waits for another that
                the migration has: shorter than PostgreSQL's deadlock_timeout of 1 s, it is never the traffic that fails.
            attempts: How often it tries.
            attempt_pause_s: How long it lets the traffic through between two attempts.
            patience_s: How long to wait for another runner to finish.
        """
        self._dsn = dsn
        self._migrations = tuple(packaged_migrations() if migrations is None else migrations)
        self._by_version = {migration.version: migration for migration in self._migrations}
        self._lock_timeout_s = lock_timeout_s
        self._attempts = attempts
        self._attempt_pause_s = attempt_pause_s
        self._patience_s = patience_s

    async def up(self, to: str | None = None) -> list[Migration]:
        """Apply what is missing, up to and including version *to*, and return what was applied.

        Raises:
            UnknownMigration: There is no version *to*.
            SchemaNewerThanProgram: The database is ahead of this program.
            MigrationChanged: An applied one reads otherwise now.
            MigrationBlocked: A lock could not be had.
            MigrationFailed: PostgreSQL refuses one.
            DatabaseUnavailable: It cannot be reached.
        """
        if to is not None and to not in self._by_version:
            raise UnknownMigration(to)
        async with self._alone() as connection:
            applied = {row.version for row in await self._verified_ledger(connection)}
            missing = [m for m in self._migrations if m.version not in applied and (to is None or m.version <= to)]
            for migration in missing:
                await self._step(connection, migration, self._apply)
        return missing

    async def down(self, steps: int | None = 1) -> list[Migration]:
        """Take back the last *steps* migrations, None for all, and return them, the latest first. Raises as `up`.

        With the first migration the ledger goes too: nothing is left.
        """
        async with self._alone() as connection:
            applied = await self._verified_ledger(connection)
            latest_first = [self._by_version[row.version] for row in reversed(applied)][:steps]
            for migration in latest_first:
                await self._step(connection, migration, self._take_back)
        return latest_first

    async def status(self) -> list[MigrationStatus]:
        """Return where each migration stands, those of the program and those of the database.

        Raises:
            DatabaseUnavailable: It cannot be reached.
        """
        async with _connected(self._dsn) as connection:
            applied = {row.version: row for row in await _ledger(connection)}
        names = {row.version: row.name for row in applied.values()}
        names |= {migration.version: migration.name for migration in self._migrations}
        return [
            MigrationStatus(
                version=version,
                name=names[version],
                applied_at=applied[version].applied_at if version in applied else None,
                is_known=version in self._by_version,
            )
            for version in sorted(names)
        ]

    async def check(self) -> None:
        """Make sure that this program can work on the schema as it is.

        A newer schema is fine as long as all it has beyond us is called ``pre``: such a migration promises that the release
        that runs survives it, and that includes being started again.

        Raises:
            SchemaOlderThanProgram: Some migrations are missing.
            SchemaNewerThanProgram: Some are unknown, and not all of them are ``pre``.
            DatabaseUnavailable: It cannot be reached.
        """
        statuses = await self.status()
        missing = tuple(status.version for status in statuses if status.applied_at is None)
        if missing:
            raise SchemaOlderThanProgram(missing)
        unknown = [status for status in statuses if not status.is_known]
        if not all(status.name.startswith("pre_") for status in unknown):
            raise SchemaNewerThanProgram(tuple(status.version for status in unknown))

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Driver]:
        """A connection that holds the advisory lock of all runners; its end frees the lock, a kill included."""
        async with _connected(self._dsn) as connection:
            loop = asyncio.get_running_loop()
            give_up_at = loop.time() + self._patience_s
            # Asked again and again: waiting inside PostgreSQL would hold a snapshot, for which a CREATE INDEX CONCURRENTLY
            # of the other runner waits in turn, for ever.
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
                if loop.time() > give_up_at:
                    raise MigrationBlocked(None)
                await asyncio.sleep(_LOCK_POLL_S)
            yield connection

    async def _verified_ledger(self, connection: Driver) -> list[Applied]:
        applied = await _ledger(connection)
        unknown = tuple(row.version for row in applied if row.version not in self._by_version)
        if unknown:
            raise SchemaNewerThanProgram(unknown)
        for row in applied:
            if row.checksum != self._by_version[row.version].checksum:
                raise MigrationChanged(row.version)
        return applied

    async def _step(self, connection: Driver, migration: Migration, do: _Step) -> None:
        for attempt in range(1, self._attempts + 1):
            try:
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = {round(self._lock_timeout_s * 1000)}")
                    await do(connection, migration)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                if attempt == self._attempts:
                    raise MigrationBlocked(migration.version) from error
                await asyncio.sleep(self._attempt_pause_s)
            except _AWAY:
                raise
            except asyncpg.PostgresError as error:
                raise MigrationFailed(migration.version, str(error.args[0])) from error
            else:
                return

    @staticmethod
    async def _apply(connection: Driver, migration: Migration) -> None:
        await connection.execute(_CREATE_LEDGER)
        await connection.execute(migration.up)
        await connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )

    @staticmethod
    async def _take_back(connection: Driver, migration: Migration) -> None:
        await connection.execute(migration.down)
        await connection.execute("DELETE FROM schema_migrations WHERE version = $1", migration.version)
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM schema_migrations)"):
            await connection.execute("DROP TABLE schema_migrations")


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Driver]:
    connection: Driver | None = None
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=_CONNECT_TIMEOUT_S,
            target_session_attrs=SessionAttribute.primary,
            # What the role may be set to is meant for short statements.
            server_settings={"application_name": "tidegate migrate", "statement_timeout": "0"},
        )
        yield connection
    except _AWAY as error:
        raise DatabaseUnavailable from error
    except asyncpg.InterfaceError as error:
        if connection is None or not connection.is_closed():
            raise
        raise DatabaseUnavailable from error
    finally:
        if connection is not None:
            connection.terminate()


async def _ledger(connection: Driver) -> list[Applied]:
    try:
        rows = await connection.fetch("SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version")
    except asyncpg.UndefinedTableError:
        return []
    return [Applied(**row) for row in rows]
