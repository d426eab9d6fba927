"""The connections to one replica: they can read, and only what is proven to be late by no more than the caller bears."""

from typing import NewType

from tidegate.storage.connections import ReplicaConnection, Row, connect_to_replica
from tidegate.storage.failures import ReplicaBehind
from tidegate.storage.lending import LendingPool

Position = NewType("Position", int)
"""A place in the primary's write-ahead log, in bytes since its beginning; only positions of one timeline compare."""

START = Position(0)
"""What every replica has replayed."""


class ReplicaPool(LendingPool[ReplicaConnection]):
    """Lends connections to one replica, each for one statement that reads.

    Another type than `PrimaryPool`, for what is read here may be late, and nothing can be written: a store that changes
    something does not type-check on it. PostgreSQL refuses a write too, even after the replica was promoted.
    """

    async def fetch(self, statement: str, *values: object, seen: Position) -> list[Row]:
        """Run *statement*, which reads, and return all rows.

        Args:
            statement: By name.
            values: Of its parameters.
            seen: The rows are as they were when the primary had flushed its log up to here, or newer.

        Raises:
            ReplicaBehind: It has not replayed up to *seen* yet.
            DatabaseUnavailable: No connection in time, or the replica cannot.
            StatementFailed: A bug, or the replica lacks a migration.
        """
        lent = self._free.pop() if self._free else await self._wait()
        try:
            # On the same connection and before the read, or it would prove nothing: see ReplicaConnection.
            if not await lent.has_replayed(seen):
                raise ReplicaBehind
            return await lent.fetch(statement, *values)
        finally:
            self._give_back(lent)

    async def _connected(self) -> ReplicaConnection:
        driver = await connect_to_replica(
            self._dsn, connect_timeout_s=self._connect_timeout_s, statement_timeout_s=self._statement_timeout_s
        )
        return ReplicaConnection(driver)
