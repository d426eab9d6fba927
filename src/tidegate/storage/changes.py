"""Changes that wait to be told to the nodes: written by triggers in the transaction that makes them, removed when told."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from tidegate.domain.changes import Change
from tidegate.storage.failures import unavailable
from tidegate.storage.pools import PrimaryPool

_CONDENSED_AT_ONCE_MAX: Final = 10_000


class PostgresChanges:
    """`feed.relay.WaitingChanges`, and what a listener reads when it begins."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool
        self._read_on: datetime | None = None
        """The start of the server that was read last: by it `remove` knows whether it meets the same rows."""

    async def read(self, *, at_most: int) -> list[Change]:
        """See `WaitingChanges.read`."""
        rows = await self._pool.fetch("waiting_changes", at_most)
        if not rows or rows[0]["is_standby"]:
            raise unavailable()  # what a standby does not show may be committed all the same
        self._read_on = rows[0]["started_at"]
        return [Change(row["change_id"], row["kind"], row["subject_id"]) for row in rows if row["change_id"] is not None]

    async def remove(self, changes: Sequence[Change]) -> None:
        """See `WaitingChanges.remove`: *changes* are of the last `read`, and stay where another server answers now."""
        await self._pool.fetch("remove_changes", [change.change_id for change in changes], self._read_on)

    async def newest(self) -> int | None:
        """See `LongWaiting.newest`."""
        row = await self._pool.fetchrow("newest_change")
        return None if row is None else row["newest"]

    async def condense(self, *, up_to: int | None = None) -> None:
        """See `WaitingChanges.condense`. Several transactions where there are very many, each of which leaves the word."""
        while True:
            row = await self._pool.fetchrow("condense_changes", _CONDENSED_AT_ONCE_MAX, up_to)
            if row is None or row["dropped"] < _CONDENSED_AT_ONCE_MAX:
                return

    async def recent_revocations(self, within_s: float) -> list[tuple[UUID, float]]:
        """The sessions that were revoked within *within_s* seconds, and how many seconds ago."""
        rows = await self._pool.fetch("recent_revocations", timedelta(seconds=within_s))
        return [(row["session_id"], row["age_s"]) for row in rows]
