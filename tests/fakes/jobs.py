"""Jobs in memory, and a queue that loses, doubles and reorders them as it is told."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tidegate.domain.errors import Unavailable
from tidegate.domain.jobs import Addressee, Claimed, Depth, Job, JobKind

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class Row:
    job: Job
    kind: str
    due_at: datetime | None = None
    is_apart: bool = False


class InMemoryJobs:
    """`ports.jobs.Jobs`.

    Attributes:
        audit: Jobs that were written down, in order.
        dead: By job, the class of the last error.
        last_logins: By user.
        first_logins: By user, the job of the first.
    """

    def __init__(self) -> None:
        self.now = NOON
        self.rows: dict[int, Row] = {}
        self.held: set[int] = set()
        self.audit: list[int] = []
        self.dead: dict[int, str] = {}
        self.last_logins: dict[UUID, datetime] = {}
        self.first_logins: dict[UUID, int] = {}
        self.held_users: set[UUID] = set()
        self.people: dict[UUID, Addressee] = {}
        self._given = 0

    def put(self, kind: str, user_id: UUID, at: datetime | None = None) -> int:
        self._given += 1
        known = JobKind(kind) if kind in set(JobKind) else JobKind.LOGIN_SUCCEEDED
        self.rows[self._given] = Row(Job(self._given, known, user_id, at or self.now), kind)
        return self._given

    def _free(self, kinds: Sequence[JobKind]) -> list[Row]:
        return [row for job, row in sorted(self.rows.items()) if row.kind in kinds and job not in self.held]

    def _is_due(self, row: Row) -> bool:
        return row.due_at is None or row.due_at <= self.now

    @asynccontextmanager
    async def take(self, kinds: Sequence[JobKind], *, at_most: int) -> AsyncIterator["InMemoryBatch"]:
        rows = [row for row in self._free(kinds) if self._is_due(row) or not (row.job.tries or row.is_apart)]
        rows.sort(key=lambda row: not (row.job.tries or row.is_apart))
        async with self._held(rows[:at_most]) as batch:
            yield batch

    @asynccontextmanager
    async def take_named(self, kinds: Sequence[JobKind], jobs: Sequence[int]) -> AsyncIterator["InMemoryBatch"]:
        async with self._held([row for row in self._free(kinds) if row.job.job_id in jobs]) as batch:
            yield batch

    @asynccontextmanager
    async def take_alone(self, job: Job, *, again_after_s: float) -> AsyncIterator["InMemoryBatch"]:
        row = self.rows.get(job.job_id)
        if row is None or job.job_id in self.held or row.job.tries != job.tries:
            yield InMemoryBatch(self, [], [])
            return
        row.job, row.is_apart = replace(row.job, tries=row.job.tries + 1), True
        row.due_at = self.now + timedelta(seconds=again_after_s)
        async with self._held([row], is_alone=True) as batch:
            yield batch
            if batch.kept:
                row.job = job

    @asynccontextmanager
    async def _held(self, rows: Sequence[Row], *, is_alone: bool = False) -> AsyncIterator["InMemoryBatch"]:
        apart = [row for row in rows if row.is_apart and not is_alone]
        rows = [row for row in rows if is_alone or not row.is_apart]
        taken = {row.job.job_id for row in rows}
        self.held |= taken
        batch = InMemoryBatch(self, [row.job for row in rows], [row.job for row in apart])
        try:
            yield batch
            await asyncio.sleep(0)  # the commit
            for job in taken - batch.kept:
                del self.rows[job]
            self.audit += batch.audit
            self.last_logins |= batch.last_logins
            for user_id, job in batch.first_logins.items():
                self.first_logins[user_id] = min(job, self.first_logins.get(user_id, job))
            for kind, user_id in batch.put_jobs:
                self.put(kind, user_id)
        except BaseException as error:
            for row in rows:
                row.is_apart |= isinstance(error, Unavailable) or not isinstance(error, Exception)
            raise
        finally:
            self.held -= taken

    async def unfinished(self, jobs: Sequence[int]) -> frozenset[int]:
        return frozenset(self.rows).intersection(jobs)

    async def claim(self, kinds: Sequence[JobKind], *, at_most: int, again_after_s: float) -> list[Claimed]:
        rows = [row for row in self._free(kinds) if self._is_due(row)][:at_most]
        for row in rows:
            row.due_at = self.now + timedelta(seconds=again_after_s)
        return [Claimed(row.job.job_id, row.job.tries, (self.now - row.job.at).total_seconds()) for row in rows]

    async def put_off(self, job: int, *, tries: int, error: str, again_after_s: float) -> None:
        assert error
        row = self.rows[job]
        row.job, row.is_apart = replace(row.job, tries=tries), False
        row.due_at = self.now + timedelta(seconds=again_after_s)

    async def bury(self, job: int, *, tries: int, error: str) -> None:
        assert tries
        del self.rows[job]
        self.dead[job] = error

    async def depth(self) -> Depth:
        return Depth(len(self.rows), 0.0)


class InMemoryBatch:
    """`ports.jobs.JobBatch`."""

    def __init__(self, store: InMemoryJobs, jobs: Sequence[Job], apart: Sequence[Job]) -> None:
        self._store = store
        self.jobs = jobs
        self.apart = apart
        self.kept: AbstractSet[int] = frozenset()
        self.audit: list[int] = []
        self.last_logins: dict[UUID, datetime] = {}
        self.first_logins: dict[UUID, int] = {}
        self.put_jobs: list[tuple[JobKind, UUID]] = []

    def keep(self, jobs: Sequence[Job]) -> None:
        self.kept = self.kept | {job.job_id for job in jobs}

    async def record_last_logins(self, latest: Mapping[UUID, datetime]) -> AbstractSet[UUID]:
        held = self._store.held_users & latest.keys()
        self.last_logins |= {user_id: at for user_id, at in latest.items() if user_id not in held}
        return held

    async def note_first_logins(self, first: Mapping[UUID, Job]) -> int:
        earlier = self._store.first_logins
        noted = {user: job.job_id for user, job in first.items() if job.job_id < earlier.get(user, job.job_id + 1)}
        self.first_logins |= noted
        return len(noted)

    async def record_audit(self, jobs: Sequence[Job]) -> None:
        self.audit += [job.job_id for job in jobs]

    async def put(self, kind: JobKind, users: Sequence[UUID]) -> None:
        self.put_jobs += [(kind, user_id) for user_id in users]

    async def addressees(self, users: Sequence[UUID]) -> Mapping[UUID, Addressee]:
        return {user_id: self._store.people[user_id] for user_id in users if user_id in self._store.people}


class InMemoryCarrier:
    """`ports.jobs.Carrier`: what is in it may be changed at will, as a queue may lose and double it.

    Attributes:
        inside: Jobs that were published and not acknowledged.
        is_broken: Up, as far as it knows, but it answers nothing.
    """

    def __init__(self) -> None:
        self.is_up = True
        self.is_broken = False
        self.inside: list[int] = []
        self.settled: list[int] = []
        self.put_back_jobs: list[int] = []
        self._delivered: list[int] = []

    async def publish(self, claimed: Sequence[Claimed]) -> bool:
        if not self.is_broken:
            self.inside += [job.job_id for job in claimed]
        return not self.is_broken

    async def backlog(self) -> int | None:
        return None if self.is_broken else len(self.inside) + len(self._delivered)

    async def pull(self, *, at_most: int, wait_s: float) -> Sequence[int] | None:
        assert wait_s > 0
        await asyncio.sleep(0)
        if self.is_broken:
            return None
        pulled, self.inside = self.inside[:at_most], self.inside[at_most:]
        self._delivered += pulled
        return pulled

    async def settle(self, jobs: Sequence[int]) -> None:
        self.settled += jobs
        self._delivered = [job for job in self._delivered if job not in jobs]

    async def put_back(self, jobs: Sequence[int], *, delay_s: float) -> None:
        assert delay_s > 0
        self.put_back_jobs += jobs
        self._delivered = [job for job in self._delivered if job not in jobs]
        self.inside += jobs
