"""What every store of jobs promises to the workers and relays that share it."""

import abc
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

import pytest

from tests.contract.stories import told
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.jobs import JobKind
from tidegate.ports.jobs import Jobs


class LoginPut(NamedTuple):
    """A job that a login has put, as far as those look who care for the login.

    Attributes:
        at: When the session was opened.
    """

    user_id: UUID
    at: datetime


class JobsWorld(Protocol):
    """A store of jobs, and what a test does around it."""

    @property
    def jobs(self) -> Jobs:
        """The store."""

    async def put(self, kind: str, user_id: UUID) -> int:
        """A job as its cause would put it."""

    async def let_pass(self, seconds: float) -> None:
        """Let time pass."""

    async def until_free(self) -> None:
        """Wait until nobody holds a job: it takes a moment until the end of who was killed is noticed."""

    async def waiting(self) -> list[int]:
        """The jobs that are not done, in order."""

    async def dead(self) -> dict[int, str]:
        """The jobs that are dead, and the class of their last error."""

    async def audited(self) -> list[int]:
        """The jobs that were written down, in order."""


KINDS = (JobKind.LOGIN_SUCCEEDED, JobKind.PASSWORD_CHANGED)


class Died(Exception):  # noqa: N818 - it is what happens
    """What a worker's work may raise."""


class Killed(BaseException):
    """Nobody catches it: as if the process had ended."""


async def end_in_the_middle(world: JobsWorld, jobs: list[int], end: type[BaseException]) -> None:
    """Take *jobs* and do not get to the end of it."""
    with pytest.raises(end):  # noqa: PT012 - it has to be raised in the middle
        async with world.jobs.take_named(KINDS, jobs) as batch:
            assert [job.job_id for job in batch.jobs] == jobs
            raise end
    await world.until_free()


class JobsContract(abc.ABC):
    """What every `Jobs` promises."""

    @abc.abstractmethod
    def opened(self) -> AbstractAsyncContextManager[JobsWorld]:
        """A store without jobs."""

    @staticmethod
    async def claim(world: JobsWorld, at_most: int = 10) -> list[tuple[int, int]]:
        found = await world.jobs.claim(KINDS, at_most=at_most, again_after_s=20)
        return [(job.job_id, job.tries) for job in sorted(found, key=lambda job: job.job_id)]

    @told
    async def test_a_job_is_claimed_once_and_again_when_the_lease_has_ended_and_it_is_not_done(self, world):
        first, second, third = [await world.put("login_succeeded", uuid4()) for _ in range(3)]
        assert await self.claim(world, 2) == [(first, 0), (second, 0)]
        assert await self.claim(world) == [(third, 0)]
        async with world.jobs.take_named(KINDS, [second]):
            pass
        await world.let_pass(19)
        assert await self.claim(world) == []
        await world.let_pass(2)
        assert await self.claim(world) == [(first, 0), (third, 0)]

    @told
    async def test_a_batch_that_ends_is_done_with_its_effects_and_one_that_raises_is_not(self, world):
        jobs = [await world.put("login_succeeded", uuid4()) for _ in range(3)]

        async def die() -> None:
            async with world.jobs.take(KINDS, at_most=2) as batch:
                await batch.record_audit(batch.jobs)
                await batch.put(JobKind.WELCOME_DUE, [uuid4()])
                raise Died

        with pytest.raises(Died):
            await die()
        assert (await world.waiting(), await world.audited()) == (jobs, [])
        async with world.jobs.take(KINDS, at_most=2) as batch:
            assert [job.job_id for job in batch.jobs] == jobs[:2]
            await batch.record_audit(batch.jobs)
        assert (await world.waiting(), await world.audited()) == (jobs[2:], jobs[:2])

    @told
    async def test_who_holds_a_job_is_neither_waited_for_nor_robbed(self, world):
        held, free, done = [await world.put("login_succeeded", uuid4()) for _ in range(3)]
        async with world.jobs.take_named(KINDS, [done]):
            pass
        async with world.jobs.take_named(KINDS, [held]) as mine:
            assert [job.job_id for job in mine.jobs] == [held]
            async with world.jobs.take_named(KINDS, [held, free, done]) as others:
                assert [job.job_id for job in others.jobs] == [free]
            async with world.jobs.take(KINDS, at_most=5) as others:
                assert others.jobs == []
            assert await self.claim(world) == []
            assert await world.jobs.unfinished([held, free, done]) == {held}
        assert await world.jobs.unfinished([held, free, done]) == frozenset()

    @told
    async def test_what_was_published_and_never_failed_is_taken_without_waiting_for_the_lease(self, world):
        """Or the loss of the queue would hold up what it carried."""
        job = await world.put("login_succeeded", uuid4())
        assert await self.claim(world) == [(job, 0)]
        async with world.jobs.take(KINDS, at_most=5) as batch:
            assert [job.job_id for job in batch.jobs] == [job]

    @told
    async def test_what_failed_waits_for_its_time_and_knows_how_often_it_did(self, world):
        job = await world.put("login_succeeded", uuid4())
        await world.jobs.put_off(job, tries=1, error="Died", again_after_s=5)
        assert await self.claim(world) == []
        async with world.jobs.take(KINDS, at_most=5) as batch:
            assert batch.jobs == []
        await world.let_pass(6)
        assert await self.claim(world) == [(job, 1)]
        async with world.jobs.take_named(KINDS, [job]) as batch:
            assert [(found.job_id, found.tries) for found in batch.jobs] == [(job, 1)]

    @told
    async def test_what_is_buried_is_done_for_everybody_but_a_person(self, world):
        job, other = await world.put("login_succeeded", uuid4()), await world.put("login_succeeded", uuid4())
        await world.jobs.bury(job, tries=1, error="Died")
        assert (await world.waiting(), await world.dead()) == ([other], {job: "Died"})
        assert await world.jobs.unfinished([job, other]) == {other}
        assert await self.claim(world) == [(other, 0)]

    @told
    async def test_what_a_newer_release_has_put_stays_for_it_and_holds_nobody_up(self, world):
        newer, ours = await world.put("grant_coupon", uuid4()), await world.put("password_changed", uuid4())
        assert await self.claim(world, 1) == [(ours, 0)]
        async with world.jobs.take(KINDS, at_most=1) as batch:
            assert [job.job_id for job in batch.jobs] == [ours]
        async with world.jobs.take_named(KINDS, [newer, ours]) as batch:
            assert batch.jobs == []
        assert await world.jobs.unfinished([newer, ours]) == {newer}

    @told
    async def test_what_is_kept_waits_on(self, world):
        kept, done = await world.put("login_succeeded", uuid4()), await world.put("login_succeeded", uuid4())
        async with world.jobs.take(KINDS, at_most=2) as batch:
            batch.keep(batch.jobs[:1])
            assert batch.kept == {kept}
        assert await world.waiting() == [kept]
        assert (await world.jobs.depth()).waiting == 1
        assert done not in await world.jobs.unfinished([kept, done])

    @told
    async def test_those_with_whom_somebody_ended_in_the_middle_are_found_apart_and_the_others_are_not(self, world):
        first, second, other = [await world.put("login_succeeded", uuid4()) for _ in range(3)]
        await end_in_the_middle(world, [first], Killed)
        await end_in_the_middle(world, [second], DatabaseUnavailable)
        async with world.jobs.take(KINDS, at_most=5) as batch:
            assert ([job.job_id for job in batch.jobs], [job.job_id for job in batch.apart]) == ([other], [first, second])
        for _ in range(2):  # and they stay so
            async with world.jobs.take_named(KINDS, [first, second]) as batch:
                assert (batch.jobs, [(job.job_id, job.tries) for job in batch.apart]) == ([], [(first, 0), (second, 0)])

    @told
    async def test_a_failure_that_was_told_sets_nobody_apart(self, world):
        jobs = [await world.put("login_succeeded", uuid4()) for _ in range(2)]
        await end_in_the_middle(world, jobs, Died)
        async with world.jobs.take(KINDS, at_most=5) as batch:
            assert ([job.job_id for job in batch.jobs], list(batch.apart)) == (jobs, [])

    @told
    async def test_who_is_tried_alone_is_counted_before_and_may_be_done_or_kept(self, world):
        jobs = [await world.put("login_succeeded", uuid4()) for _ in range(3)]
        await end_in_the_middle(world, jobs, Killed)
        async with world.jobs.take_named(KINDS, jobs) as batch:
            killing, done, kept = batch.apart
        with pytest.raises(Killed):  # noqa: PT012 - it has to be raised in the middle
            async with world.jobs.take_alone(killing, again_after_s=5) as batch:
                assert [job.job_id for job in batch.jobs] == [killing.job_id]
                raise Killed
        await world.until_free()
        async with world.jobs.take_alone(done, again_after_s=5) as batch:
            await batch.record_audit(batch.jobs)
        async with world.jobs.take_alone(kept, again_after_s=5) as batch:
            batch.keep(batch.jobs)
        async with world.jobs.take_named(KINDS, jobs) as batch:
            assert [(job.job_id, job.tries) for job in batch.apart] == [(killing.job_id, 1), (kept.job_id, 0)]
        assert await world.audited() == [done.job_id]
        async with world.jobs.take_alone(killing, again_after_s=5) as batch:
            assert list(batch.jobs) == []  # somebody has counted since it was found
        await world.let_pass(4)
        assert await self.claim(world) == []
        await world.let_pass(2)
        assert await self.claim(world) == [(killing.job_id, 1), (kept.job_id, 0)]

    @told
    async def test_who_has_failed_alone_is_among_the_others_again_for_the_failure_was_told(self, world):
        jobs = [await world.put("login_succeeded", uuid4()) for _ in range(2)]
        await end_in_the_middle(world, jobs, Killed)
        await world.jobs.put_off(jobs[0], tries=1, error="Died", again_after_s=5)
        await world.let_pass(6)
        async with world.jobs.take_named(KINDS, jobs[:1]) as batch:
            assert [(job.job_id, job.tries) for job in (*batch.jobs, *batch.apart)] == [(jobs[0], 1)]
