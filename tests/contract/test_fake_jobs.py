"""The fake store of jobs keeps the contract of the real one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from tests.contract.jobs import JobsContract
from tests.fakes.jobs import InMemoryJobs


class FakeWorld:
    def __init__(self) -> None:
        self.jobs = InMemoryJobs()

    async def put(self, kind: str, user_id: UUID) -> int:
        return self.jobs.put(kind, user_id)

    async def let_pass(self, seconds: float) -> None:
        self.jobs.now += timedelta(seconds=seconds)

    async def until_free(self) -> None:
        """Whoever is killed holds nothing any more."""

    async def waiting(self) -> list[int]:
        return sorted(self.jobs.rows)

    async def dead(self) -> dict[int, str]:
        return self.jobs.dead

    async def audited(self) -> list[int]:
        return self.jobs.audit


class TestInMemoryJobs(JobsContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeWorld]:
        yield FakeWorld()
