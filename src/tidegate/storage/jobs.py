"""Jobs in PostgreSQL: taken, done and deleted in one transaction."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

from tidegate.domain.jobs import LoginSucceeded
from tidegate.ports import JobBatch
from tidegate.storage.connections import PrimaryConnection
from tidegate.storage.pools import PrimaryPool

_KINDS: Final = ["login_succeeded"]
"""What this release can do. open_session (sql/sessions.sql) puts it under this name."""


class PostgresJobs:
    """`ports.Jobs`."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def take(self, *, at_most: int) -> AsyncIterator[JobBatch]:
        """See `ports.Jobs.take`."""
        async with self._pool.transaction() as work:
            taken = await work.fetch("take_jobs", _KINDS, at_most)
            yield PostgresJobBatch(work, [LoginSucceeded(row["user_id"], row["created_at"]) for row in taken])
            if taken:
                await work.fetch("remove_jobs", [row["job_id"] for row in taken])


class PostgresJobBatch:
    """`ports.JobBatch`: lives as long as its transaction."""

    def __init__(self, work: PrimaryConnection, logins: Sequence[LoginSucceeded]) -> None:
        self._work = work
        self.logins = logins

    async def record_last_logins(self, latest: Mapping[UUID, datetime]) -> None:
        """See `ports.JobBatch.record_last_logins`."""
        await self._work.fetch("record_last_logins", list(latest.keys()), list(latest.values()))
