"""Writes when users last logged in, for a batch of logins at once: never in the login itself (DESIGN 5.6)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tidegate.ports import JobBatch


@dataclass(frozen=True, slots=True)
class RecordLogins:
    """Does the jobs `LoginSucceeded`."""

    async def __call__(self, batch: JobBatch) -> None:
        """Record the latest login of each user in *batch*."""
        latest: dict[UUID, datetime] = {}
        for login in batch.logins:
            latest[login.user_id] = max(login.at, latest.get(login.user_id, login.at))
        if latest:
            await batch.record_last_logins(latest)
