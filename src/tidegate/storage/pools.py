"""The connections to the primary, the only server that takes writes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidegate.storage.connections import PrimaryConnection, Row, connect
from tidegate.storage.failures import unavailable
from tidegate.storage.lending import LendingPool


class PrimaryPool(LendingPool[PrimaryConnection]):
    """Lends connections to the primary, each for one statement or one transaction."""

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Run *statement* in a transaction of its own and return all rows.

        Raises:
            DatabaseUnavailable: No connection in time, or the database cannot; whether a write took place is unknown.
            UniqueViolated: Another row holds one of *values*.
            StatementFailed: A bug.
        """
        lent = self._free.pop() if self._free else await self._wait()
        try:
            return await lent.fetch(statement, *values)
        finally:
            self._give_back(lent)

    async def fetchrow(self, statement: str, *values: object) -> Row | None:
        """Run *statement* in a transaction of its own and return its first row. Raises as `fetch`."""
        lent = self._free.pop() if self._free else await self._wait()
        try:
            return await lent.fetchrow(statement, *values)
        finally:
            self._give_back(lent)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PrimaryConnection]:
        """Lend a connection for several statements: committed when the block ends, taken back when it raises.

        Raises:
            DatabaseUnavailable: As `fetch`; when it comes of the commit, whether that took place is unknown.
        """
        lent = self._free.pop() if self._free else await self._wait()
        try:
            await lent.begin()
            yield lent
            await lent.commit()
        except Exception:
            await lent.roll_back()
            raise
        except BaseException:
            # Cancelled: there is no time left for a question and an answer.
            lent.terminate()
            raise
        finally:
            self._give_back(lent)

    async def ping(self) -> None:
        """Ask the primary something.

        Raises:
            DatabaseUnavailable: It does not answer, or takes no writes.
        """
        row = await self.fetchrow("is_primary")
        if row is None or not row["is_primary"]:
            raise unavailable()

    async def time_s(self) -> float:
        """What the primary's clock shows, seconds since 1970.

        Raises:
            DatabaseUnavailable: It does not answer, or takes no writes.
        """
        row = await self.fetchrow("clock")
        if row is None:
            raise unavailable()
        return float(row["time_s"])

    async def connections_offered(self) -> int:
        """How many connections the primary lets everybody but its superusers hold at once.

        Raises:
            DatabaseUnavailable: It does not answer.
        """
        row = await self.fetchrow("connections_offered")
        assert row is not None  # it has no WHERE
        return int(row["offered"])

    async def _connected(self) -> PrimaryConnection:
        driver = await connect(
            self._dsn,
            connect_timeout_s=self._connect_timeout_s,
            statement_timeout_s=self._statement_timeout_s,
            is_by_key=True,
        )
        return PrimaryConnection(driver)
