"""Jobs in PostgreSQL: put by whatever causes them, claimed here for publishing, done and deleted in one transaction."""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from tidegate.domain.errors import Unavailable
from tidegate.domain.jobs import NOTICES, UNFINISHED, Addressee, Claimed, Depth, Job, JobKind
from tidegate.ports.jobs import JobBatch
from tidegate.storage.connections import PrimaryConnection, Row
from tidegate.storage.pools import PrimaryPool

_COUNTED_MAX: Final = 100_000
"""A gauge that says so many says enough; counting a million rows every few seconds would not be worth it."""


class PostgresJobs:
    """`ports.jobs.Jobs` and `ports.jobs.AuditRemoval`."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def take(self, kinds: Sequence[JobKind], *, at_most: int) -> AsyncIterator[JobBatch]:
        """See `ports.jobs.Jobs.take`."""
        async with self._pool.transaction() as work:
            rows = await work.fetch("take_jobs", kinds, at_most, _are_notices(kinds))
            async with self._noted(work, rows) as batch:
                yield batch

    @asynccontextmanager
    async def take_named(self, kinds: Sequence[JobKind], jobs: Sequence[int]) -> AsyncIterator[JobBatch]:
        """See `ports.jobs.Jobs.take_named`."""
        async with self._pool.transaction() as work:
            rows = await work.fetch("take_named_jobs", jobs, kinds)
            async with self._noted(work, rows) as batch:
                yield batch

    @asynccontextmanager
    async def _noted(self, work: PrimaryConnection, rows: Sequence[Row]) -> AsyncIterator["PostgresJobBatch"]:
        """Write down which jobs are tried together before they are, for who is killed by one of them can do so no more.

        A second connection, for the note must be committed while *work* holds the jobs, and be gone before others may.
        """
        jobs = [_job_of(row) for row in rows if row["error"] != UNFINISHED]
        apart = [_job_of(row) for row in rows if row["error"] == UNFINISHED]
        if not jobs:
            yield PostgresJobBatch(work, [], apart=apart)
            return
        begun = await self._pool.fetchrow("begin_batch", [job.job_id for job in jobs])
        assert begun is not None  # an INSERT of one row
        try:
            suspected = frozenset(begun["suspected"])
            if suspected:
                await _set_apart(work, begun["batch_id"], sorted(suspected))
                apart += [job for job in jobs if job.job_id in suspected]
                jobs = [job for job in jobs if job.job_id not in suspected]
            batch = PostgresJobBatch(work, jobs, apart=apart, number=begun["batch_id"])
            yield batch
            await batch.remove()
        except Unavailable:
            raise  # the note stays: who waits too long for the database may be one of them
        except Exception:
            await self._pool.fetch("end_batch", begun["batch_id"])
            raise

    @asynccontextmanager
    async def take_alone(self, job: Job, *, again_after_s: float) -> AsyncIterator[JobBatch]:
        """See `ports.jobs.Jobs.take_alone`."""
        again_after = timedelta(seconds=again_after_s)
        begun = await self._pool.fetchrow("begin_try", job.job_id, job.tries, again_after, UNFINISHED)
        async with self._pool.transaction() as work:
            rows = [] if begun is None else await work.fetch("take_named_jobs", [job.job_id], [job.kind])
            batch = PostgresJobBatch(work, [_job_of(row) for row in rows])
            yield batch
            if batch.kept:
                await work.fetch("take_back_try", job.job_id)
            await batch.remove()

    async def unfinished(self, jobs: Sequence[int]) -> frozenset[int]:
        """See `ports.jobs.Jobs.unfinished`."""
        return frozenset(row["job_id"] for row in await self._pool.fetch("unfinished_jobs", jobs))

    async def claim(self, kinds: Sequence[JobKind], *, at_most: int, again_after_s: float) -> list[Claimed]:
        """See `ports.jobs.Jobs.claim`."""
        rows = await self._pool.fetch("claim_jobs", kinds, at_most, timedelta(seconds=again_after_s), _are_notices(kinds))
        return [Claimed(row["job_id"], row["tries"], row["age_s"]) for row in rows]

    async def put_off(self, job: int, *, tries: int, error: str, again_after_s: float) -> None:
        """See `ports.jobs.Jobs.put_off`."""
        await self._pool.fetch("put_off_job", job, tries, error, timedelta(seconds=again_after_s))

    async def bury(self, job: int, *, tries: int, error: str) -> None:
        """See `ports.jobs.Jobs.bury`."""
        await self._pool.fetch("bury_job", job, tries, error)

    async def depth(self) -> Depth:
        """See `ports.jobs.Jobs.depth`."""
        row = await self._pool.fetchrow("job_depth", _COUNTED_MAX)
        assert row is not None  # an aggregate has a row
        return Depth(row["waiting"], row["oldest_s"])

    async def remove_old_audit(self, *, older_than_s: float, at_most: int) -> int:
        """See `ports.jobs.AuditRemoval.remove_old_audit`."""
        row = await self._pool.fetchrow("remove_old_audit", timedelta(seconds=older_than_s), at_most)
        return 0 if row is None else int(row[0])


class PostgresJobBatch:
    """`ports.jobs.JobBatch`: lives as long as its transaction."""

    def __init__(
        self, work: PrimaryConnection, jobs: Sequence[Job], *, apart: Sequence[Job] = (), number: int | None = None
    ) -> None:
        """Hold what was taken.

        Args:
            work: The transaction.
            jobs: What it holds.
            apart: What it holds besides, and does not try.
            number: Of the note that says so; None: each job says so itself.
        """
        self._work = work
        self._number = number
        self.jobs: Sequence[Job] = jobs
        self.apart: Sequence[Job] = apart
        self.kept: AbstractSet[int] = frozenset()

    def keep(self, jobs: Sequence[Job]) -> None:
        """See `ports.jobs.JobBatch.keep`."""
        self.kept = self.kept | {job.job_id for job in jobs}

    async def record_last_logins(self, latest: Mapping[UUID, datetime]) -> AbstractSet[UUID]:
        """See `ports.jobs.JobBatch.record_last_logins`."""
        rows = await self._work.fetch("record_last_logins", list(latest.keys()), list(latest.values()))
        missing = latest.keys() - {row["userid"] for row in rows}
        if not missing:
            return frozenset()
        return frozenset(row["userid"] for row in await self._work.fetch("users_among", list(missing)))

    async def note_first_logins(self, first: Mapping[UUID, Job]) -> int:
        """See `ports.jobs.JobBatch.note_first_logins`."""
        jobs = first.values()
        noted = await self._work.fetch(
            "note_first_logins", list(first.keys()), [job.job_id for job in jobs], [job.at for job in jobs]
        )
        return len(noted)

    async def record_audit(self, jobs: Sequence[Job]) -> None:
        """See `ports.jobs.JobBatch.record_audit`."""
        await self._work.fetch("record_audit", [job.job_id for job in jobs])

    async def put(self, kind: JobKind, users: Sequence[UUID]) -> None:
        """See `ports.jobs.JobBatch.put`."""
        await self._work.fetch("put_jobs", kind, users)

    async def addressees(self, users: Sequence[UUID]) -> Mapping[UUID, Addressee]:
        """See `ports.jobs.JobBatch.addressees`."""
        rows = await self._work.fetch("addressees", users)
        return {row["userid"]: Addressee(row["userid"], row["email"], row["full_name"]) for row in rows}

    async def remove(self) -> None:
        """Make the jobs done, but for those that are kept, and the note of their batch untrue with that."""
        done = [job.job_id for job in self.jobs if job.job_id not in self.kept]
        if done or self._number is not None:
            await self._work.fetch("remove_jobs", done, self._number)


def _job_of(row: Row) -> Job:
    return Job(row["job_id"], JobKind(row["kind"]), row["user_id"], row["created_at"], row["tries"])


def _are_notices(kinds: Sequence[JobKind]) -> int:
    """How the two indexes of `jobs` begin."""
    return int(any(kind in NOTICES for kind in kinds))


async def _set_apart(work: PrimaryConnection, number: int, suspected: Sequence[int]) -> None:
    """Let each of *suspected*, which *work* holds, be tried alone, and forget the batches that named only such.

    Three statements, for the last must see what others have set apart while the first waited for them.
    """
    unfinished = [row["batch_id"] for row in await work.fetch("lock_unfinished_batches", suspected, number)]
    await work.fetch("set_jobs_apart", suspected, UNFINISHED)
    await work.fetch("forget_unfinished_batches", unfinished, UNFINISHED)


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One job as a person sees it.

    Attributes:
        due_at: When it is published, or published again; None: at once.
        died_at: None: it still waits.
        detail: JSON.
        error: The class of the last failure; None: it never failed.
    """

    job_id: int
    kind: str
    user_id: UUID
    created_at: datetime
    due_at: datetime | None
    died_at: datetime | None
    detail: str | None
    tries: int
    error: str | None


@dataclass(frozen=True, slots=True)
class KindStats:
    """How many jobs of a kind wait, how many of those have failed, how many are dead, and how old the oldest is, in s."""

    kind: str
    waiting: int
    failing: int
    dead: int
    oldest_s: float | None


class JobAdministration:
    """What an operator sees of jobs and does to them."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool

    async def listed(self, job: int | None, *, at_most: int) -> list[ListedJob]:
        """*job*, or all: the dead first, then those that have failed, then the others, the oldest first."""
        return [ListedJob(*row) for row in await self._pool.fetch("list_jobs", job, at_most)]

    async def retry(self, job: int | None) -> list[int]:
        """Let *job*, or all that are dead or have failed, be tried at once; which ones those were."""
        return [row["job_id"] for row in await self._pool.fetch("retry_jobs", job, UNFINISHED)]

    async def stats(self) -> list[KindStats]:
        """Each kind that there is a job of."""
        return [KindStats(*row) for row in await self._pool.fetch("job_stats")]
