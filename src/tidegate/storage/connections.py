"""One connection to a server: how it is opened, how statements are prepared on it, when it must not be used again."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from asyncpg.prepared_stmt import PreparedStatement

from tidegate.storage.failures import StatementFailed, failure, is_harmless, is_passing, unavailable
from tidegate.storage.statements import statements

APPLICATION_NAME: Final = "tidegate"
"""How the connections of pools are called in pg_stat_activity."""

CLIENT_PATIENCE_S: Final = 0.5
"""How much longer than the server we wait for a statement: a server that lives ends it first, and the connection stays."""

REPLICA_PATIENCE_S: Final = 0.1
"""Likewise on a replica: whoever waits for one that hangs could have been answered by the primary."""

STATEMENT_TIMES_MAX: Final = 4
"""So many times the limit of one statement a whole transaction may take: 20 s by default, under the 30 s of promise P12.

asyncpg prepares without a Sync, so until the next words come the server takes itself for busy: it neither counts that as an
idle transaction nor ends a statement of which it still reads. Who is stopped just then would hold its locks for ever.
"""

_LIMITS_TRANSACTIONS: Final = 17
"""From this major version on PostgreSQL has transaction_timeout; older ones refuse who asks for it."""

Row: TypeAlias = asyncpg.Record
Driver: TypeAlias = "asyncpg.Connection[Row]"
Prepared: TypeAlias = "PreparedStatement[Row]"

T = TypeVar("T")


_BY_KEY: Final = {"enable_seqscan": "off"}
"""For connections on which rows are asked for by key. A plan stands until the table is analysed again, a minute later at
the soonest: one that was made while there was nobody would read all of a crowd for each who comes (ADR 0032)."""


async def connect(
    dsn: str,
    *,
    connect_timeout_s: float,
    statement_timeout_s: float,
    application_name: str = APPLICATION_NAME,
    is_by_key: bool = False,
) -> Driver:
    """Open a connection to the primary.

    Args:
        dsn: As libpq reads it; of several hosts the one that takes writes.
        connect_timeout_s: For the whole of it: socket, TLS, authentication.
        statement_timeout_s: When the server ends a statement, the wait for locks included, and also a transaction in which
            nothing happens; any transaction after `STATEMENT_TIMES_MAX` times that. So if this process is stopped in one,
            or its machine goes without a word, its locks hold nobody up for longer.
        application_name: What an operator sees in pg_stat_activity.
        is_by_key: Whether no statement is to read a whole table where an index would do, however small the table is now.

    Raises:
        DatabaseUnavailable: It cannot be had now.
    """
    return await _connect(
        dsn,
        to=SessionAttribute.primary,
        connect_timeout_s=connect_timeout_s,
        statement_timeout_s=statement_timeout_s,
        patience_s=CLIENT_PATIENCE_S,
        given={"application_name": application_name, **(_BY_KEY if is_by_key else {})},
    )


async def connect_to_replica(dsn: str, *, connect_timeout_s: float, statement_timeout_s: float) -> Driver:
    """Open a connection to a standby, on which nothing can be written even if the standby is promoted meanwhile.

    Args:
        dsn: As libpq reads it, of one server.
        connect_timeout_s: For the whole of it: socket, TLS, authentication.
        statement_timeout_s: When the server ends a statement.

    Raises:
        DatabaseUnavailable: It cannot be had now, or is no standby.
    """
    return await _connect(
        dsn,
        to=SessionAttribute.standby,
        connect_timeout_s=connect_timeout_s,
        statement_timeout_s=statement_timeout_s,
        patience_s=REPLICA_PATIENCE_S,
        given={"application_name": APPLICATION_NAME, "default_transaction_read_only": "on", **_BY_KEY},
    )


async def _connect(
    dsn: str,
    *,
    to: SessionAttribute,
    connect_timeout_s: float,
    statement_timeout_s: float,
    patience_s: float,
    given: Mapping[str, str],
) -> Driver:
    timeout_ms = str(max(1, round(statement_timeout_s * 1000)))
    try:
        driver = await asyncpg.connect(
            dsn,
            timeout=connect_timeout_s,
            command_timeout=statement_timeout_s + patience_s,
            target_session_attrs=to,
            server_settings={
                **given,
                "statement_timeout": timeout_ms,
                "idle_in_transaction_session_timeout": timeout_ms,
                "timezone": "UTC",
                # Compiling pays for reports, never for statements of microseconds.
                "jit": "off",
            },
        )
        await _limit_transactions(driver, limit_s=statement_timeout_s * STATEMENT_TIMES_MAX, timeout_s=connect_timeout_s)
    except Exception as error:
        if is_passing(error):
            raise unavailable() from error
        raise
    return driver


async def _limit_transactions(driver: Driver, *, limit_s: float, timeout_s: float) -> None:
    if driver.get_server_version().major < _LIMITS_TRANSACTIONS:
        return
    try:
        await driver.execute(f"SET transaction_timeout = {max(1, round(limit_s * 1000))}", timeout=timeout_s)
    except BaseException:
        driver.terminate()
        raise


class NamedStatements:
    """Runs statements by name on one connection; lent to one caller at a time by the pool."""

    __slots__ = ("_driver", "_is_answered", "_prepared", "_texts")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._prepared: dict[str, Prepared] = {}
        self._texts = statements()
        self._is_answered = True

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Run *statement* to its end and return all rows.

        Raises:
            DatabaseUnavailable: The database cannot now; whether a write took place is unknown.
            UniqueViolated: Another row holds one of *values*.
            StatementFailed: A bug.
        """
        return await self._run(statement, values, PreparedStatement.fetch)

    async def fetchrow(self, statement: str, *values: object) -> Row | None:
        """Run *statement* and return its first row; one that only reads is not run beyond it. Raises as `fetch`."""
        return await self._run(statement, values, PreparedStatement.fetchrow)

    async def _run(self, statement: str, values: tuple[object, ...], run: Callable[..., Awaitable[T]]) -> T:
        # Whoever is cancelled or runs out of time on the way leaves it so: the server's answer may still be to come.
        self._is_answered = False
        try:
            prepared = self._prepared.get(statement) or await self._prepare(statement)
            try:
                answer = await run(prepared, *values)
            except asyncpg.InvalidCachedStatementError:
                answer = await run(await self._prepare_anew(statement), *values)
        except Exception as error:
            self._is_answered = is_harmless(error)
            if is_passing(error) or self._driver.is_closed():
                raise unavailable() from error
            raise failure(error, statement) from None
        self._is_answered = True
        return answer

    async def _prepare(self, statement: str) -> Prepared:
        prepared = await self._driver.prepare(self._texts[statement])
        self._prepared[statement] = prepared
        return prepared

    async def _prepare_anew(self, statement: str) -> Prepared:
        """A migration changed what *statement* returns. PostgreSQL says so before it runs anything, so twice is once."""
        if self._driver.is_in_transaction():
            raise unavailable()
        return await self._prepare(statement)

    @property
    def is_usable(self) -> bool:
        """Whether it is open and the server has answered everything that was asked."""
        return self._is_answered and not self._driver.is_closed()

    def on_end(self, call: Callable[[], None]) -> None:
        """Call *call* soon after the connection has ended, whoever ended it."""

        def ended(_: object) -> None:
            call()

        self._driver.add_termination_listener(ended)

    def terminate(self) -> None:
        """End it at once, whatever is under way; the server rolls back what was not committed."""
        self._driver.terminate()

    async def close(self, *, timeout_s: float) -> None:
        """End it politely, or at once when that takes too long."""
        try:
            await self._driver.close(timeout=timeout_s)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._driver.terminate()


class PrimaryConnection(NamedStatements):
    """One connection to the primary, where statements may write, and several may be one transaction."""

    __slots__ = ()

    async def begin(self) -> None:
        """Open a transaction. Raises as `fetch`."""
        await self._control("BEGIN")

    async def commit(self) -> None:
        """Commit it. Raises as `fetch`."""
        if await self._control("COMMIT") != "COMMIT":
            # PostgreSQL answers ROLLBACK, and no error, where a statement had failed and the caller went on.
            raise StatementFailed("COMMIT: a statement had failed")

    async def roll_back(self) -> None:
        """Take back what the transaction did; when the connection cannot, its end does."""
        if self.is_usable:
            with contextlib.suppress(Exception):
                await self._control("ROLLBACK")

    async def _control(self, command: str) -> str:
        self._is_answered = False
        try:
            tag = await self._driver.execute(command)
        except Exception as error:
            if is_passing(error) or self._driver.is_closed():
                raise unavailable() from error
            raise failure(error, command) from None
        self._is_answered = True
        return tag


class ReplicaConnection(NamedStatements):
    """One connection to a replica, and how far that replica is known to have replayed.

    Why what `has_replayed` says is proof for the statements after it. A backend tells a position only once all before it is
    replayed, and a snapshot that is taken later sees all that; a replica's position never falls while it runs, and a
    connection ends with its server. So a position read by an earlier statement on the same connection holds for the next
    one. Compared within the reading statement it would prove nothing: PostgreSQL takes the statement's snapshot before it
    calls any function, so a backend that was stopped in between would compare a newer position than it reads.
    """

    __slots__ = ("_replayed",)

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._replayed = -1

    async def has_replayed(self, position: int) -> bool:
        """Whether whatever is asked next on this connection sees all that the primary had flushed at *position*.

        Raises:
            DatabaseUnavailable: The replica does not answer.
        """
        if self._replayed < position:
            row = await self.fetchrow("replayed")
            assert row is not None  # it has no WHERE
            self._replayed = row["replayed"]
        return self._replayed >= position
