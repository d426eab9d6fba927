"""What comes of each job: with and without a queue, with doubles, with one at fault among many, with others at work."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.fakes.jobs import NOON, InMemoryCarrier, InMemoryJobs
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.jobs import RECORDED, UNFINISHED, NoticeUndelivered, back_off_s
from tidegate.ports.jobs import JobBatch
from tidegate.usecases.record_events import RecordEvents
from tidegate.worker.hands import Hands
from tidegate.worker.lanes import Lane
from tidegate.worker.relay import BACKLOG_MAX, CLAIMED_FOR_S, Relay

POISON = UUID(int=13)


class Killed(BaseException):
    """Nobody catches it: as if the process had ended."""


class Heard:
    """`worker.lanes.Watcher`."""

    def __init__(self) -> None:
        self.done_jobs = 0
        self.failures: list[tuple[str, bool]] = []
        self.published = 0

    def done(self, lane: str, count: int) -> None:
        self.done_jobs += count

    def failed(self, lane: str, error: str, *, is_dead: bool) -> None:
        self.failures.append((error, is_dead))

    def relayed(self, lane: str, ages_s: Sequence[float]) -> None:
        self.published += len(ages_s)


class World:
    """A worker, its jobs and its queue."""

    def __init__(self, *, has_queue: bool = True, at_once_max: int = 100, tries_max: int = 3) -> None:
        self.has_queue = has_queue
        self.jobs = InMemoryJobs()
        self.carrier = InMemoryCarrier()
        self.heard = Heard()
        self.error: BaseException = ValueError("about user secret-canary")
        self.batches: list[int] = []
        lane = Lane(name="records", kinds=RECORDED, do=self._do, at_once_max=at_once_max, parallel=1, tries_max=tries_max)
        carrier = self.carrier if has_queue else None
        self.hands = Hands(lane, jobs=self.jobs, carrier=carrier, watcher=self.heard, draw=lambda: 0.5)
        self.relay = Relay(lane, jobs=self.jobs, carrier=self.carrier, watcher=self.heard)

    async def _do(self, batch: JobBatch) -> None:
        self.batches.append(len(batch.jobs))
        await RecordEvents(welcomes=False)(batch)
        if any(job.user_id == POISON for job in batch.jobs):
            raise self.error

    async def work_till_calm(self, rounds: int = 40) -> int:
        """Let workers work, each begun anew where the one before was killed, and time pass; how many were killed."""
        killed = 0
        for _ in range(rounds):
            if self.has_queue:
                await self.relay.work()
            try:
                await self.hands.work()
            except Killed:
                killed += 1
            except DatabaseUnavailable:
                pass
            self.jobs.now += timedelta(seconds=30)
        return killed

    def put(self, *users: UUID, kind: str = "login_succeeded") -> list[int]:
        return [self.jobs.put(kind, user_id) for user_id in users]


def users(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


def test_what_was_put_is_published_pulled_done_and_acknowledged() -> None:
    async def story() -> None:
        world = World()
        jobs = world.put(*users(5))
        assert await world.relay.work() is False
        assert await world.hands.work() is True
        assert (world.jobs.audit, world.carrier.settled, world.jobs.rows) == (jobs, jobs, {})
        assert (world.heard.done_jobs, world.heard.published) == (5, 5)

    asyncio.run(story())


@pytest.mark.parametrize("loses", ["has_none", "is_away", "is_broken"])
def test_without_a_queue_the_table_is_polled(loses: str) -> None:
    async def story() -> None:
        world = World(has_queue=loses != "has_none", at_once_max=3)
        world.carrier.is_up, world.carrier.is_broken = loses != "is_away", loses == "is_broken"
        jobs = world.put(*users(5))
        await world.relay.work()
        assert [await world.hands.work(), await world.hands.work()] == [True, False]
        assert world.jobs.audit == jobs

    asyncio.run(story())


def test_doubles_and_a_wrong_order_change_nothing() -> None:
    async def story() -> None:
        world = World()
        jobs = world.put(*users(4))
        world.carrier.inside = [*reversed(jobs), *jobs, 999]
        await world.hands.work()
        world.carrier.inside = [jobs[0], jobs[3]]
        await world.hands.work()
        assert sorted(world.jobs.audit) == jobs
        assert set(world.carrier.settled) == {*jobs, 999}
        assert world.carrier.inside == []

    asyncio.run(story())


def test_one_job_at_fault_is_found_and_put_off_and_all_others_take_effect() -> None:
    async def story() -> None:
        world = World()
        jobs = world.put(*users(20), POISON, *users(11))
        await world.relay.work()
        await world.hands.work()
        assert sorted(world.jobs.audit) == sorted({*jobs} - {jobs[20]})
        assert world.heard.failures == [("ValueError", False)]
        assert world.jobs.rows[jobs[20]].due_at == NOON + timedelta(seconds=back_off_s(1, share=0.5))
        assert set(world.carrier.settled) == set(jobs)

    asyncio.run(story())


@pytest.mark.parametrize("has_queue", [True, False])
def test_who_fails_too_often_is_dead_and_knows_why(has_queue: bool) -> None:
    async def story() -> None:
        world = World(has_queue=has_queue)
        world.error = NoticeUndelivered("SMTPRecipientsRefused")
        (job,) = world.put(POISON)
        for _ in range(3):
            assert world.jobs.dead == {}
            if has_queue:
                await world.relay.work()
            await world.hands.work()
            world.jobs.now += timedelta(seconds=30)
        assert world.jobs.dead == {job: "SMTPRecipientsRefused"}
        assert [is_dead for _, is_dead in world.heard.failures] == [False, False, True]

    asyncio.run(story())


def test_a_database_that_is_away_is_nobodys_fault() -> None:
    async def story() -> None:
        world = World()
        world.error = DatabaseUnavailable()
        (job,) = world.put(POISON)
        await world.relay.work()
        with pytest.raises(DatabaseUnavailable):
            await world.hands.work()
        assert (world.heard.failures, world.jobs.rows[job].job.tries) == ([], 0)
        assert (world.carrier.put_back_jobs, world.carrier.settled) == ([job], [])

    asyncio.run(story())


@pytest.mark.parametrize("has_queue", [True, False])
@pytest.mark.parametrize("error", [Killed, DatabaseUnavailable])
def test_who_kills_its_workers_or_is_always_cut_off_is_dead_in_the_end_and_all_others_take_effect(
    error: type[BaseException], has_queue: bool
) -> None:
    """Nobody lives to count it, so it is counted before; and no more than one batch is in danger by it."""

    async def story() -> None:
        world = World(has_queue=has_queue, tries_max=3)
        world.error = error()
        jobs = world.put(*users(20), POISON, *users(11))
        killed = await world.work_till_calm()
        assert sorted(world.jobs.audit) == sorted({*jobs} - {jobs[20]})
        assert (world.jobs.dead, world.jobs.rows) == ({jobs[20]: UNFINISHED}, {})
        tried = [size for size in world.batches if size > 1]
        assert tried == [32]
        assert world.heard.failures[-1] == (UNFINISHED, True)
        if error is Killed:
            assert killed == 1 + 3  # in company, and then alone as often as anything is tried

    asyncio.run(story())


def test_who_was_beside_killed_workers_often_is_done_when_one_lives() -> None:
    """A deployment that kills: a try is counted only of who was tried alone at that very moment."""

    async def story() -> None:
        world = World(has_queue=False, tries_max=3)
        world.error = Killed()
        world.put(POISON, *users(5))
        assert await world.work_till_calm(rounds=3) == 3
        assert [row.job.tries for row in world.jobs.rows.values()] == [2]
        world.error = ValueError()  # told, so it is tried among others again
        await world.work_till_calm(rounds=1)
        assert world.jobs.dead == {1: "ValueError"}
        assert len(world.jobs.audit) == 5

    asyncio.run(story())


def test_of_those_apart_nobody_is_tried_after_one_that_the_database_cut_off_until_the_next_round() -> None:
    """A worker that is to stop waits for its round: it must not be hours."""

    async def story() -> None:
        world = World(has_queue=False)
        world.error = DatabaseUnavailable()
        world.put(POISON, POISON, POISON, *users(2))
        with pytest.raises(DatabaseUnavailable):
            await world.hands.work()
        for rounds in (1, 2, 3):
            await world.hands.work()
            assert len(world.heard.failures) == rounds
        await world.hands.work()
        assert len(world.jobs.audit) == 2

    asyncio.run(story())


def test_whoever_is_apart_and_whose_user_is_held_was_not_tried() -> None:
    async def story() -> None:
        world = World(has_queue=False, tries_max=2)
        (ann,) = users(1)
        (job,) = world.put(ann)
        world.jobs.rows[job].is_apart = True
        world.jobs.held_users = {ann}
        await world.work_till_calm(rounds=9)
        assert (world.jobs.rows[job].job.tries, world.heard.done_jobs) == (0, 0)
        world.jobs.held_users = set()
        await world.work_till_calm(rounds=1)
        assert world.jobs.audit == [job]

    asyncio.run(story())


def test_what_somebody_else_holds_is_delivered_again_and_not_acknowledged() -> None:
    async def story() -> None:
        world = World()
        held, free = world.put(*users(2))
        await world.relay.work()
        world.jobs.held.add(held)
        await world.hands.work()
        assert (world.jobs.audit, world.carrier.settled, world.carrier.put_back_jobs) == ([free], [free], [held])

    asyncio.run(story())


def test_the_login_of_a_user_whose_row_is_held_waits_and_nobody_waits_with_it() -> None:
    async def story() -> None:
        world = World()
        ann, bob = users(2)
        jobs = world.put(ann, bob, ann)
        world.jobs.held_users = {ann}
        await world.relay.work()
        await world.hands.work()
        assert (world.jobs.audit, world.heard.done_jobs) == ([jobs[1]], 1)
        assert (world.carrier.settled, world.carrier.put_back_jobs) == ([jobs[1]], [jobs[0], jobs[2]])
        world.jobs.held_users = set()
        await world.hands.work()
        assert sorted(world.jobs.audit) == jobs

    asyncio.run(story())


def test_what_the_queue_has_lost_is_published_again_after_a_while() -> None:
    async def story() -> None:
        world = World()
        jobs = world.put(*users(3))
        await world.relay.work()
        world.carrier.inside = []
        await world.relay.work()
        assert world.carrier.inside == []
        world.jobs.now += timedelta(seconds=CLAIMED_FOR_S)
        await world.relay.work()
        assert world.carrier.inside == jobs

    asyncio.run(story())


def test_nothing_more_is_published_while_workers_lag_behind() -> None:
    async def story() -> None:
        world = World()
        world.put(*users(3))
        world.carrier.inside = [0] * (BACKLOG_MAX - 1)
        await world.relay.work()
        assert world.heard.published == 1
        await world.relay.work()
        assert world.heard.published == 1

    asyncio.run(story())


def test_the_pause_after_a_failure_doubles_up_to_a_bound_and_is_drawn() -> None:
    assert [back_off_s(tries, share=1.0) for tries in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert back_off_s(1, share=0.0) == 0.5
    assert back_off_s(1_000, share=1.0) == 600
