"""Who goes first, who may wait and who is told to come back: the rules of the hash pool, with a clock in hand."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.unit.passwords.crowds import Caller, a_job, a_scheduler
from tidegate.domain.lanes import Lane
from tidegate.passwords.scheduler import (
    CROWDED_WAIT,
    LEAVERS,
    PLACES_KEPT,
    RETRY_AFTER_S_MAX,
    SHARED_MAX,
    STANDS_AT,
    TURN,
    Job,
    Scheduler,
)

WAIT_S = 10.0
STANDS_S = STANDS_AT * WAIT_S


def taken(scheduler: Scheduler, now: float = 0.0) -> list[object]:
    """The works of what a free thread gets, which is done at once."""
    jobs = scheduler.take(now)
    if jobs:
        scheduler.finish(jobs, scheduler.hash_s)
    return [job.work for job in jobs]


def all_taken(scheduler: Scheduler, now: float = 0.0) -> Iterator[object]:
    while works := taken(scheduler, now):
        yield from works


def with_its_thread_at_work(scheduler: Scheduler) -> Scheduler:
    """The scheduler, with every thread at a hash that never ends."""
    for _ in range(scheduler.threads):
        assert scheduler.add(a_job(Lane.KNOWN_DEVICE, "running"), 0.0) is None
        assert scheduler.take(0.0)
    return scheduler


class Everything(RuleBasedStateMachine):
    """Any calls in any order, as threads and callers make them, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 2
        self.queue_max = 6
        self.scheduler = a_scheduler(
            threads=self.threads, queue_max=self.queue_max, wait_s_max=WAIT_S, in_turn_max=2, hash_s=0.05
        )
        self.waiting: list[Job] = []
        self.computing: list[list[Job]] = []
        self.gone: set[Job] = set()

    @rule(lane=st.sampled_from(Lane), kind=st.sampled_from(["a", "b", None]), key=st.sampled_from([*"xyz", None]))
    def somebody_comes(self, lane: Lane, kind: str | None, key: str | None) -> None:
        free = self.threads - len(self.computing) - len(self.waiting)
        caller = Caller()
        if key is not None and (shared := self.scheduler.join(key, caller, lane, self.now)):
            assert shared.key == key
            assert caller in shared.callers
            assert shared in self.waiting or any(shared in jobs for jobs in self.computing)
            self.gone.discard(shared)
            return
        job = Job(lane, None, kind=kind, key=key, callers=[caller])
        refused = self.scheduler.add(job, self.now)
        assert free <= 0 or refused is None
        if refused is not job:
            self.waiting.append(job)
            assert job.deadline == self.now + WAIT_S
        if refused is not None and refused is not job:
            self.waiting.remove(refused)
        assert lane is not Lane.REHASH or refused is (job if free <= 0 else None)

    @precondition(lambda self: len(self.computing) < self.threads)
    @rule()
    def a_thread_takes(self) -> None:
        jobs = self.scheduler.take(self.now)
        ready = [job for job in self.waiting if job.deadline > self.now and job.is_wanted()]
        assert bool(jobs) == bool(ready)
        for job in jobs:
            assert job in ready
            self.waiting.remove(job)
        if jobs:
            self.computing.append(jobs)
        if len(jobs) == 2:
            assert len(self.computing) == self.threads
            assert jobs[0].kind == jobs[1].kind
            assert jobs[0].kind is not None

    @precondition(lambda self: self.computing)
    @rule(which=st.integers(0, 1), failed=st.booleans())
    def a_thread_is_done(self, which: int, failed: bool) -> None:
        jobs = self.computing.pop(which % len(self.computing))
        self.scheduler.finish(jobs, None if failed else 0.05)
        for job in jobs:
            self.gone.discard(job)

    @precondition(lambda self: self.waiting or self.computing)
    @rule(which=st.integers(0, 20))
    def a_caller_goes(self, which: int) -> None:
        everybody = self.waiting + [job for jobs in self.computing for job in jobs]
        job = everybody[which % len(everybody)]
        for caller in job.callers:
            caller.has_gone = True
        self.scheduler.leave(job)
        if job in self.waiting:
            self.waiting.remove(job)

    @rule(seconds=st.sampled_from([0.001, 0.5, 3.0, 9.0, 11.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_alarm_goes(self) -> None:
        late = self.scheduler.expire(self.now)
        assert set(late) == {job for job in self.waiting if job.deadline <= self.now}
        for job in late:
            self.waiting.remove(job)
        deadline = self.scheduler.next_deadline()
        assert deadline == min((job.deadline for job in self.waiting), default=None)

    @rule(lane=st.sampled_from(Lane))
    def somebody_asks_when_to_come_back(self, lane: Lane) -> None:
        assert 0 < self.scheduler.retry_after_s(lane, self.now) <= RETRY_AFTER_S_MAX
        is_away = self.scheduler.turns_away(lane, self.now)
        assert not (is_away and self.scheduler.has_free_thread())

    @invariant()
    def it_counts_right_and_holds_no_more_than_it_may(self) -> None:
        assert self.scheduler.waiting == len(self.waiting)
        assert sum(self.scheduler.waiting_in(lane) for lane in Lane) == len(self.waiting)
        assert self.scheduler.running == sum(len(jobs) for jobs in self.computing)
        assert len(self.computing) + len(self.waiting) <= self.threads + self.queue_max
        keys = {job.key for jobs in [self.waiting, *self.computing] for job in jobs if job.key}
        assert set(self.scheduler._shared) <= keys

    def teardown(self) -> None:
        assert set(self.scheduler.clear()) == set(self.waiting)
        assert self.scheduler.waiting == 0
        for jobs in self.computing:
            self.scheduler.finish(jobs, 0.05)
        assert self.scheduler.running == 0
        assert not self.scheduler._shared


def test_whatever_happens_each_job_ends_once_and_in_time_and_no_bound_is_broken() -> None:
    run_state_machine_as_test(Everything, settings=settings(max_examples=200, stateful_step_count=60, deadline=None))


class TestWhoGoesFirst:
    def test_first_come_first_served(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler())
        for number in range(5):
            scheduler.add(a_job(name=number), number / 100)
        scheduler._busy = 0
        assert list(all_taken(scheduler, 0.1)) == [0, 1, 2, 3, 4]

    def test_a_better_lane_before_a_worse_one(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler())
        for lane in (Lane.IMPORT, Lane.REGISTER, Lane.LOGIN, Lane.KNOWN_DEVICE):
            scheduler.add(a_job(lane, lane), 0.0)
        scheduler._busy = 0
        assert list(all_taken(scheduler)) == [Lane.KNOWN_DEVICE, Lane.LOGIN, Lane.REGISTER, Lane.IMPORT]

    def test_newest_first_once_the_oldest_has_probably_given_up(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(wait_s_max=WAIT_S))
        for number in range(4):
            scheduler.add(a_job(name=number), float(number))
        scheduler._busy = 0
        assert taken(scheduler, STANDS_S - 0.1) == [0]
        assert taken(scheduler, STANDS_S + 0.9) == [1]
        assert taken(scheduler, STANDS_S + 2.1) == [3]  # now 2 has waited for too long

    def test_only_the_lane_that_stands_goes_newest_first(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(wait_s_max=WAIT_S))
        for number in range(2):
            scheduler.add(a_job(Lane.REGISTER, number), 0.0)
        for number in range(2, 4):
            scheduler.add(a_job(Lane.LOGIN, number), STANDS_S)
        scheduler._busy = 0
        assert list(all_taken(scheduler, STANDS_S)) == [2, 3, 1, 0]

    @pytest.mark.parametrize("lanes", [[Lane.LOGIN, Lane.REGISTER], [lane for lane in Lane if lane is not Lane.REHASH]])
    def test_no_lane_starves_however_many_come_to_the_better_ones(self, lanes: list[Lane]) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=100, in_turn_max=1, hash_s=1e-6))
        starts: list[Lane] = []
        for _ in range(400):
            for lane in lanes:
                while scheduler.waiting_in(lane) < 3:
                    assert scheduler.add(a_job(lane, lane), 0.0) is None
            scheduler._busy = 0
            (job,) = scheduler.take(0.0)
            starts.append(job.lane)
            scheduler.finish([job], 1e-6)
            scheduler._busy = 1
        others = len(lanes) - 1
        for first in range(len(starts) - TURN * others):
            assert set(starts[first : first + TURN * others]) == set(lanes)
        assert starts.count(lanes[0]) == pytest.approx(len(starts) * (1 - 1 / TURN), abs=1)

    def test_the_turn_of_others_is_not_saved_up_while_nobody_waits_there(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=100, in_turn_max=1, hash_s=1e-6))
        for _ in range(50):
            scheduler.add(a_job(Lane.KNOWN_DEVICE, Lane.KNOWN_DEVICE), 0.0)
        scheduler._busy = 0
        for _ in range(30):
            taken(scheduler)
        scheduler._busy = 1
        scheduler.add(a_job(Lane.REGISTER, Lane.REGISTER), 0.0)
        scheduler._busy = 0
        assert list(all_taken(scheduler)).index(Lane.REGISTER) == TURN - 1

    def test_newest_first_when_a_quarter_hangs_up(self) -> None:
        """In a queue that is served in order, it is always their turn who are about to leave."""
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=100))
        for number in range(20):
            scheduler.add(a_job(name=number), 0.0)
        self.somebody_leaves(scheduler, times=4)
        scheduler._busy = 0
        assert taken(scheduler) == [0]
        scheduler._busy = 1
        self.somebody_leaves(scheduler, times=2)
        assert scheduler._queues[Lane.LOGIN].leavers > LEAVERS
        scheduler._busy = 0
        assert taken(scheduler) == [19]
        *_, last_but_one, last = all_taken(scheduler)
        assert (last_but_one, last) == (14, 15)  # enough have been served: in order again
        assert taken(scheduler) == []  # idle: that crowd is over
        scheduler._busy = 1
        for number in range(2):
            scheduler.add(a_job(name=number), 0.0)
        scheduler._busy = 0
        assert taken(scheduler) == [0]

    @staticmethod
    def somebody_leaves(scheduler: Scheduler, *, times: int) -> None:
        for _ in range(times):
            leaver = a_job(name="leaver")
            assert scheduler.add(leaver, 0.0) is None
            leaver.callers[0].has_gone = True
            scheduler.leave(leaver)
            assert not leaver.is_waiting

    def test_who_leaves_while_others_share_the_hash_is_no_leaver(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler())
        job = a_job(key="k")
        scheduler.add(job, 0.0)
        scheduler.join("k", Caller(), Lane.LOGIN, 0.0)
        job.callers[0].has_gone = True
        scheduler.leave(job)
        assert scheduler._queues[Lane.LOGIN].leavers == 0
        assert job.is_waiting

    def test_nobody_starts_who_is_late_or_has_gone(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(wait_s_max=WAIT_S))
        late, gone, there = a_job(name="late"), a_job(name="gone"), a_job(name="there")
        scheduler.add(late, 0.0)
        scheduler.add(gone, 5.0)
        scheduler.add(there, 5.0)
        gone.callers[0].has_gone = True
        scheduler._busy = 0
        assert list(all_taken(scheduler, WAIT_S)) == ["there"]
        assert scheduler.expire(WAIT_S) == [late]


class TestInTurn:
    def two_wait(self, kinds: str, *, threads: int = 1, in_turn_max: int = 2) -> Scheduler:
        scheduler = with_its_thread_at_work(a_scheduler(threads=threads, in_turn_max=in_turn_max))
        for kind in kinds:
            scheduler.add(a_job(name=kind, kind=kind), 0.0)
        scheduler._busy = 0
        return scheduler

    def test_two_of_a_kind_go_to_the_only_thread_together(self) -> None:
        scheduler = self.two_wait("aaa")
        assert [taken(scheduler), taken(scheduler)] == [["a", "a"], ["a"]]

    def test_two_of_different_kinds_do_not_nor_does_the_second_overtake(self) -> None:
        scheduler = self.two_wait("aba")
        assert [taken(scheduler) for _ in range(3)] == [["a"], ["b"], ["a"]]

    def test_while_another_thread_is_free_it_gets_the_second(self) -> None:
        scheduler = self.two_wait("aaaa", threads=2)
        first, second = scheduler.take(0.0), scheduler.take(0.0)
        assert (len(first), len(second)) == (1, 2)

    def test_an_engine_that_cannot_gets_them_one_by_one(self) -> None:
        scheduler = self.two_wait("aa", in_turn_max=1)
        assert [taken(scheduler), taken(scheduler)] == [["a"], ["a"]]

    def test_the_mean_is_of_a_threads_time_for_one_hash(self) -> None:
        scheduler = self.two_wait("aa")
        scheduler.hash_s = 1.0
        scheduler.finish(scheduler.take(0.0), 2.0)
        assert scheduler.hash_s == pytest.approx(1.0)


class TestWhoMayWait:
    def test_while_a_thread_is_free_everybody_is_let_in(self) -> None:
        scheduler = a_scheduler(threads=2, queue_max=0, hash_s=1e9)
        assert [scheduler.add(a_job(lane), 0.0) for lane in (Lane.IMPORT, Lane.REHASH)] == [None, None]
        assert scheduler.take(0.0)
        assert scheduler.take(0.0)

    def test_a_rehash_starts_at_once_or_not_at_all(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler())
        rehash = a_job(Lane.REHASH)
        assert scheduler.add(rehash, 0.0) is rehash

    def test_whoever_could_not_start_in_time_is_refused_though_there_are_places(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=1000, wait_s_max=WAIT_S, hash_s=3.0))
        assert [scheduler.add(a_job(), 0.0) for _ in range(3)] == [None] * 3  # 3, 6 and 9 s
        fourth = a_job()
        assert scheduler.add(fourth, 0.0) is fourth

    def test_the_wait_is_foretold_from_how_fast_the_lane_has_moved(self) -> None:
        """Strict priority makes a fool of counting who is ahead: those who are to come to a better lane are ahead too."""
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=1000, wait_s_max=1000, in_turn_max=1, hash_s=0.1))
        for _ in range(150):
            assert scheduler.add(a_job(Lane.REGISTER), 0.0) is None
        for second in range(100):  # its turn came once a second, though a hash takes 0.1 s
            scheduler._busy = 0
            assert scheduler.take(float(second))
        assert scheduler.waiting_in(Lane.REGISTER) == 50
        scheduler._wait_s_max = 55
        assert scheduler.add(a_job(Lane.REGISTER), 100.0) is None  # 51 s
        scheduler._wait_s_max = 50
        another = a_job(Lane.REGISTER)
        assert scheduler.add(another, 100.0) is another

    def test_once_a_lane_had_to_refuse_it_offers_a_short_wait_until_it_was_empty(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=50, wait_s_max=WAIT_S, in_turn_max=1, hash_s=0.1))
        assert [scheduler.add(a_job(), 0.0) for _ in range(50)] == [None] * 50
        full = a_job()
        assert scheduler.add(full, 0.0) is full
        scheduler._busy = 0
        now = 0.0
        while scheduler.waiting > WAIT_S * CROWDED_WAIT / 0.1:
            now += 0.1
            taken(scheduler, now)
        scheduler._busy = 1
        again = a_job()
        assert scheduler.add(again, now) is again
        assert scheduler.add(a_job(Lane.KNOWN_DEVICE), now) is None  # another lane, and not crowded
        scheduler._busy = 0
        taken(scheduler, now)
        taken(scheduler, now + 0.1)
        scheduler._busy = 1
        assert scheduler.add(a_job(), now + 0.1) is None  # there is room for a short wait
        scheduler._busy = 0
        assert list(all_taken(scheduler, now + 0.2))
        scheduler._busy = 1
        assert [scheduler.add(a_job(), 0.0) for _ in range(50)] == [None] * 50

    def test_a_full_queue_refuses_the_newcomer_while_the_others_are_fresh(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=2))
        assert [scheduler.add(a_job(), 0.0) for _ in range(2)] == [None] * 2
        newcomer = a_job()
        assert scheduler.add(newcomer, 0.1) is newcomer

    def test_the_first_of_a_crowded_lane_is_offered_the_longest_wait(self) -> None:
        """Else a lane whose turn comes more rarely than the short wait is long would starve."""
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=1000, wait_s_max=WAIT_S, hash_s=3.0))
        scheduler._queues[Lane.LOGIN].is_crowded = True
        assert scheduler.add(a_job(), 0.0) is None
        second = a_job()
        assert scheduler.add(second, 0.0) is second

    def test_where_people_hang_up_the_oldest_gives_way_to_who_would_be_late(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=1000, wait_s_max=WAIT_S, hash_s=3.0))
        oldest = a_job()
        assert [scheduler.add(job, 0.0) for job in (oldest, a_job(), a_job())] == [None] * 3
        scheduler._queues[Lane.LOGIN].leavers = LEAVERS
        assert scheduler.add(a_job(), 0.0) is oldest

    def test_a_full_queue_that_stands_refuses_the_oldest(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=2, wait_s_max=WAIT_S))
        oldest, other = a_job(), a_job()
        assert [scheduler.add(job, 0.0) for job in (oldest, other)] == [None] * 2
        assert scheduler.add(a_job(), STANDS_S) is oldest
        assert scheduler.waiting == 2

    def test_the_worst_lane_gives_up_the_place_of_its_last(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=3))
        register, last, login = a_job(Lane.REGISTER), a_job(Lane.REGISTER), a_job(Lane.LOGIN)
        assert [scheduler.add(job, 0.0) for job in (register, last, login)] == [None] * 3
        assert scheduler.add(a_job(Lane.LOGIN), 0.0) is last
        assert scheduler.add(a_job(Lane.KNOWN_DEVICE), 0.0) is register
        another = a_job(Lane.REGISTER)
        assert scheduler.add(another, 0.0) is another

    def test_of_a_lane_that_stands_it_is_the_oldest_who_gives_a_place_up(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=2, wait_s_max=WAIT_S))
        oldest, newest = a_job(Lane.REGISTER), a_job(Lane.REGISTER)
        assert [scheduler.add(oldest, 0.0), scheduler.add(newest, 1.0)] == [None] * 2
        assert scheduler.add(a_job(Lane.LOGIN), STANDS_S) is oldest

    def test_a_lane_keeps_its_share_of_the_places_from_the_better_ones(self) -> None:
        places = 64
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=places, hash_s=1e-6))
        for _ in range(places):
            assert scheduler.add(a_job(Lane.REGISTER), 0.0) is None
        for _ in range(places * 2):
            scheduler.add(a_job(Lane.LOGIN), 0.0)
        assert scheduler.waiting_in(Lane.REGISTER) == places * PLACES_KEPT
        for _ in range(places * 2):
            scheduler.add(a_job(Lane.IMPORT), 0.0)
        assert [scheduler.waiting_in(lane) for lane in (Lane.LOGIN, Lane.REGISTER, Lane.IMPORT)] == [48, 8, 8]


class TestSharing:
    def test_a_key_is_shared_from_its_coming_to_its_end(self) -> None:
        scheduler = a_scheduler()
        job = a_job(key="k")
        scheduler.add(job, 0.0)
        assert scheduler.join("k", Caller(), Lane.LOGIN, 0.0) is job
        assert scheduler.join("other", Caller(), Lane.LOGIN, 0.0) is None
        jobs = scheduler.take(0.0)
        assert scheduler.join("k", Caller(), Lane.LOGIN, 0.0) is job
        scheduler.finish(jobs, 0.1)
        assert scheduler.join("k", Caller(), Lane.LOGIN, 0.0) is None
        assert len(job.callers) == 3

    def test_it_stays_while_one_of_its_callers_does(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler())
        job, other = a_job(key="k"), Caller()
        scheduler.add(job, 0.0)
        scheduler.join("k", other, Lane.LOGIN, 0.0)
        job.callers[0].has_gone = True
        scheduler.leave(job)
        assert scheduler.waiting == 1
        other.has_gone = True
        scheduler.leave(job)
        assert scheduler.waiting == 0
        assert scheduler.join("k", Caller(), Lane.LOGIN, 0.0) is None

    @pytest.mark.parametrize("ends", ["refused", "late", "cleared"])
    def test_nobody_joins_what_is_over(self, ends: str) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=1))
        scheduler.add(a_job(Lane.REGISTER, key="k"), 0.0)
        if ends == "refused":
            assert scheduler.add(a_job(Lane.LOGIN), 0.0) is not None
        elif ends == "late":
            assert scheduler.expire(100.0)
        else:
            assert scheduler.clear()
        assert scheduler.join("k", Caller(), Lane.LOGIN, 0.0) is None

    def test_a_better_lane_takes_it_along(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler())
        scheduler.add(a_job(Lane.LOGIN, "other"), 0.0)
        scheduler.add(a_job(Lane.REGISTER, "shared", key="k"), 0.0)
        scheduler.join("k", Caller(), Lane.IMPORT, 0.0)
        assert scheduler.waiting_in(Lane.REGISTER) == 1
        scheduler.join("k", Caller(), Lane.KNOWN_DEVICE, 1.0)
        scheduler._busy = 0
        assert list(all_taken(scheduler, 1.0)) == ["shared", "other"]

    def test_a_retry_keeps_the_place_in_an_orderly_queue(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler())
        scheduler.add(a_job(name="first", key="k"), 0.0)
        scheduler.add(a_job(name="second"), 0.0)
        scheduler.join("k", Caller(), Lane.LOGIN, 1.0)
        scheduler._busy = 0
        assert list(all_taken(scheduler, 1.0)) == ["first", "second"]

    def test_a_retry_is_the_newest_in_a_queue_that_stands(self) -> None:
        """Its client is still there: that is what the newest are preferred for."""
        scheduler = with_its_thread_at_work(a_scheduler(wait_s_max=WAIT_S))
        for name in ("first", "second", "third"):
            scheduler.add(a_job(name=name, key=name), 0.0)
        retried = scheduler.join("second", Caller(), Lane.LOGIN, STANDS_S)
        assert retried is not None
        assert retried.deadline == STANDS_S + WAIT_S
        scheduler._busy = 0
        assert list(all_taken(scheduler, STANDS_S)) == ["second", "third", "first"]

    def test_so_many_share_one_and_no_more(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler())
        job = a_job(key="k")
        scheduler.add(job, 0.0)
        joined = [scheduler.join("k", Caller(), Lane.LOGIN, 0.0) for _ in range(SHARED_MAX)]
        assert joined == [job] * (SHARED_MAX - 1) + [None]


class TestWhenToComeBack:
    def test_those_who_are_refused_are_asked_back_one_after_the_other(self) -> None:
        """At the pace of the threads, two for each hash; and not later than anybody waits."""
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=0, hash_s=0.1))
        told = []
        for _ in range(1000):
            assert scheduler.add(a_job(), 0.0) is not None
            told.append(scheduler.retry_after_s(Lane.LOGIN, 0.0))
        assert told[0] == pytest.approx(0.1)
        assert told[99] == pytest.approx(5.0)
        assert told[199] == pytest.approx(10.0)
        assert told[-1] == RETRY_AFTER_S_MAX

    def test_whose_time_has_come_is_not_counted_any_more(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=0, hash_s=0.1))
        for _ in range(100):
            scheduler.add(a_job(), 0.0)
        assert scheduler.retry_after_s(Lane.LOGIN, 3.0) == pytest.approx(2.0)
        assert scheduler.retry_after_s(Lane.LOGIN, 50.0) == pytest.approx(0.1)

    def test_until_there_is_room_nobody_need_come(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=1000, wait_s_max=WAIT_S, hash_s=0.1))
        while scheduler.add(a_job(), 0.0) is None:
            pass
        told = scheduler.retry_after_s(Lane.LOGIN, 0.0)
        assert told == pytest.approx(WAIT_S * (1 - CROWDED_WAIT), rel=0.05)

    def test_who_was_refused_without_being_asked_about_counts_too(self) -> None:
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=0, hash_s=0.1))
        assert scheduler.turns_away(Lane.LOGIN, 0.0, besides=99)
        assert scheduler.retry_after_s(Lane.LOGIN, 0.0) == pytest.approx(5.0)

    def test_an_imitation_that_is_turned_away_counts_too(self) -> None:
        """Else the hardened profile would tell who is registered by the header."""
        scheduler = with_its_thread_at_work(a_scheduler(queue_max=0, hash_s=0.1))
        assert all(scheduler.turns_away(Lane.LOGIN, 0.0) for _ in range(100))
        assert scheduler.retry_after_s(Lane.LOGIN, 0.0) == pytest.approx(5.0)
        assert scheduler.running == 1
        assert scheduler.waiting == 0
