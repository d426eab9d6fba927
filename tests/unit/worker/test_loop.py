"""The worker's rounds: what follows what, what a failure changes, and when it stops."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.jobs import LoginSucceeded
from tidegate.usecases.clean_up_sessions import CleanUpSessions
from tidegate.usecases.record_logins import RecordLogins
from tidegate.worker.loop import JOBS_AT_ONCE_MAX, CleanUp, WorkerLoop

BOB = UUID("00000000-0000-4000-8000-000000000001")
ANN = UUID("00000000-0000-4000-8000-000000000002")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class FakeBatch:
    def __init__(self, logins: Sequence[LoginSucceeded]) -> None:
        self.logins = logins
        self.recorded: list[dict[UUID, datetime]] = []

    async def record_last_logins(self, latest: Mapping[UUID, datetime]) -> None:
        self.recorded.append(dict(latest))


class FakeJobs:
    """Waiting logins; raises what it is told to, once each, and stops its loop when there is nothing more to do."""

    def __init__(
        self,
        *,
        waiting: int = 0,
        failures: Sequence[Exception] = (),
        after_round: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.waiting = waiting
        self.after_round = after_round
        self.failures = list(failures)
        self.rounds: list[int] = []
        self.loop: WorkerLoop | None = None

    @asynccontextmanager
    async def take(self, *, at_most: int) -> AsyncIterator[FakeBatch]:
        if self.failures:
            raise self.failures.pop(0)
        taken = min(at_most, self.waiting)
        yield FakeBatch([LoginSucceeded(BOB, NOON)] * taken)
        self.waiting -= taken
        self.rounds.append(taken)
        self.after_round(len(self.rounds))
        if self.loop is not None and not self.waiting:
            self.loop.stop()


class FakeRemoval:
    def __init__(self, dead: int) -> None:
        self.dead = dead
        self.batches: list[int] = []

    async def remove_dead(self, *, dead_for_s: float, at_most: int) -> int:
        removed = min(at_most, self.dead)
        self.dead -= removed
        self.batches.append(removed)
        return removed


class HandMonotonic:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def loop_of(
    jobs: FakeJobs, *, removal: FakeRemoval | None = None, monotonic: HandMonotonic | None = None, at_most: int = 3
) -> tuple[WorkerLoop, list[Exception]]:
    """A loop without pauses, and where its failures go."""
    failures: list[Exception] = []
    loop = WorkerLoop(
        jobs=jobs,
        record_logins=RecordLogins(),
        clean_ups=[CleanUpSessions(sessions=removal or FakeRemoval(0), dead_for_s=60, at_most=at_most)],
        on_failure=failures.append,
        poll_interval_s=0,
        cleanup_interval_s=60,
        monotonic=monotonic or HandMonotonic(),
    )
    return loop, failures


def test_full_batches_follow_each_other_until_nothing_waits() -> None:
    jobs = FakeJobs(waiting=2 * JOBS_AT_ONCE_MAX + 7)
    jobs.loop, failures = loop_of(jobs)
    asyncio.run(jobs.loop.run())
    assert jobs.rounds == [JOBS_AT_ONCE_MAX, JOBS_AT_ONCE_MAX, 7]
    assert jobs.loop.jobs_done == 2 * JOBS_AT_ONCE_MAX + 7
    assert failures == []


def test_a_failed_round_is_told_and_tried_again() -> None:
    away, bug = DatabaseUnavailable(), KeyError("x")
    jobs = FakeJobs(waiting=5, failures=[away, bug])
    jobs.loop, failures = loop_of(jobs)
    asyncio.run(jobs.loop.run())
    assert failures == [away, bug]
    assert jobs.rounds == [5]
    assert jobs.loop.jobs_done == 5


def test_the_age_of_the_last_poll_grows_while_rounds_fail() -> None:
    clock = HandMonotonic()
    jobs = FakeJobs(waiting=1)
    jobs.loop, _ = loop_of(jobs, monotonic=clock)
    clock.now = 7
    assert jobs.loop.poll_age_s == 7
    asyncio.run(jobs.loop.run())
    assert jobs.loop.poll_age_s == 0
    clock.now += 3
    assert jobs.loop.poll_age_s == 3


def test_clean_up_goes_on_batch_by_batch_between_the_jobs_and_then_rests() -> None:
    clock, removal = HandMonotonic(), FakeRemoval(dead=7)
    seen: dict[int, list[int]] = {}

    def after(rounds: int) -> None:
        seen[rounds] = list(removal.batches)
        if rounds == 10:
            clock.now += 59
        if rounds == 20:
            clock.now += 2
        if rounds == 22:
            loop.stop()

    loop, _ = loop_of(FakeJobs(after_round=after), removal=removal, monotonic=clock)
    asyncio.run(loop.run())
    assert (seen[1], seen[2], seen[4]) == ([], [3], [3, 3, 1])
    assert seen[20] == [3, 3, 1]
    assert seen[22] == [3, 3, 1, 0]


def test_a_stop_does_not_wait_for_the_pause() -> None:
    async def stop() -> None:
        loop = WorkerLoop(
            jobs=FakeJobs(),
            record_logins=RecordLogins(),
            clean_ups=[CleanUpSessions(sessions=FakeRemoval(0), dead_for_s=60)],
            on_failure=lambda _: None,
            poll_interval_s=3_600,
        )
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(0)
        loop.stop()
        async with asyncio.timeout(5):
            await running

    asyncio.run(stop())


def test_the_latest_login_of_each_user_is_recorded() -> None:
    async def record(batch: FakeBatch) -> None:
        await RecordLogins()(batch)

    batch = FakeBatch(
        [LoginSucceeded(user_id, NOON + timedelta(minutes=m)) for user_id, m in ((BOB, 1), (ANN, 5), (BOB, 3), (BOB, 2))]
    )
    asyncio.run(record(batch))
    assert batch.recorded == [{BOB: NOON + timedelta(minutes=3), ANN: NOON + timedelta(minutes=5)}]


def test_nothing_is_recorded_when_nobody_logged_in() -> None:
    async def record(batch: FakeBatch) -> None:
        await RecordLogins()(batch)

    batch = FakeBatch([])
    asyncio.run(record(batch))
    assert batch.recorded == []


def test_no_clean_up_waits_for_the_backlog_of_another() -> None:
    """One batch each, as long as one of them has more."""
    done: list[str] = []

    def clean_up(name: str, batches: int) -> CleanUp:
        async def do_one() -> bool:
            done.append(name)
            return done.count(name) < batches

        return do_one

    jobs = FakeJobs(after_round=lambda rounds: loop.stop() if rounds == 6 else None)
    loop = WorkerLoop(
        jobs=jobs,
        record_logins=RecordLogins(),
        clean_ups=[clean_up("long", 3), clean_up("short", 1)],
        on_failure=lambda _: None,
        poll_interval_s=0,
        monotonic=HandMonotonic(),
    )
    asyncio.run(loop.run())
    assert done == ["long", "short"] * 3
