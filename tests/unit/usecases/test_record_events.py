"""What a batch of jobs leaves behind: the audit, the last logins, the greetings that follow."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from tests.fakes.jobs import NOON, InMemoryJobs
from tidegate.domain.jobs import RECORDED, Addressee, JobKind
from tidegate.usecases.record_events import RecordEvents
from tidegate.usecases.welcome import Welcome

ADA, BOB = uuid4(), uuid4()


async def do_all(jobs: InMemoryJobs, *, welcomes: bool) -> None:
    async with jobs.take(RECORDED, at_most=100) as batch:
        await RecordEvents(welcomes=welcomes)(batch)


def test_the_latest_login_of_each_user_is_recorded_and_every_event_is_written_down() -> None:
    async def story() -> None:
        jobs = InMemoryJobs()
        for minutes in (1, 3, 2):
            jobs.put("login_succeeded", ADA, NOON + timedelta(minutes=minutes))
        jobs.put("password_changed", BOB)
        await do_all(jobs, welcomes=False)
        assert jobs.last_logins == {ADA: NOON + timedelta(minutes=3)}
        assert (jobs.audit, jobs.rows) == ([1, 2, 3, 4], {})

    asyncio.run(story())


def test_who_has_registered_is_greeted_by_a_job_of_its_own_where_that_is_wished() -> None:
    async def story() -> None:
        for welcomes, left in ((True, ["welcome_due"]), (False, [])):
            jobs = InMemoryJobs()
            jobs.put("user_registered", ADA)
            await do_all(jobs, welcomes=welcomes)
            assert [row.kind for row in jobs.rows.values()] == left

    asyncio.run(story())


def test_who_is_gone_is_not_greeted() -> None:
    class Sender:
        def __init__(self) -> None:
            self.sent: list[tuple[int, Addressee]] = []

        async def welcome(self, job: int, addressee: Addressee) -> None:
            self.sent.append((job, addressee))

    async def story() -> None:
        jobs, sender = InMemoryJobs(), Sender()
        jobs.people[ADA] = Addressee(ADA, "ada@example.com", None)
        job, gone = jobs.put("welcome_due", ADA), jobs.put("welcome_due", BOB)
        async with jobs.take([JobKind.WELCOME_DUE], at_most=2) as batch:
            assert [found.job_id for found in batch.jobs] == [job, gone]
            await Welcome(sender=sender)(batch)
        assert sender.sent == [(job, jobs.people[ADA])]
        assert jobs.rows == {}

    asyncio.run(story())


def test_whoever_grants_coupons_is_told_of_first_logins_and_of_nothing_else() -> None:
    async def story() -> None:
        jobs, told = InMemoryJobs(), []
        record = RecordEvents(welcomes=False, on_first_logins=lambda: told.append(len(told)))
        for kind, bells in (("password_changed", 0), ("login_succeeded", 1), ("login_succeeded", 1)):
            jobs.put(kind, ADA)
            async with jobs.take(RECORDED, at_most=100) as batch:
                await record(batch)
            assert len(told) == bells

    asyncio.run(story())
