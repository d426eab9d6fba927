"""Whatever people, workers and the operator do in whatever order: who gets a coupon follows from who came when.

A machine does what they may do, to real tables, and asks a model that knows nothing of jobs and rounds
(`tests/integration/worker/campaign_model.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Self, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.integration.storage.worlds import PostgresWorld, bystander, opened_world
from tests.integration.worker.campaign_model import CampaignModel, Person, Seat
from tests.integration.worker.test_coupons import granting
from tests.integration.worker.test_jobs import do_jobs
from tests.support.campaigns import enter, log_in, make_campaign
from tidegate.domain.campaign_steps import CampaignStep
from tidegate.domain.campaigns import CampaignState, GrantState, RankBy
from tidegate.domain.jobs import UNFINISHED, JobKind
from tidegate.domain.users import NewUser
from tidegate.storage.campaign_administration import PostgresCampaignAdministration
from tidegate.storage.jobs import PostgresJobs
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.administer_campaigns import AdministerCampaigns
from tidegate.usecases.record_events import RecordEvents

T = TypeVar("T")

PICKS: Final = st.integers(0, 2**16)
"""Who of those there are, whoever they are then."""

_REST_ROUNDS_MAX: Final = 30


class Fate(StrEnum):
    """What becomes of a login's job, soon after it was put."""

    WAITS = "waits"
    DONE = "done"
    FAILS = "fails"
    DIES = "dies"
    HELD = "held"
    """By a worker that was stopped."""


FATES: Final = st.lists(st.sampled_from(Fate), min_size=6, max_size=6)
"""Of the logins of a moment, in their order."""


class Scene:
    """One database for all examples, each of which has a campaign and people of its own.

    Attributes:
        slow: Somebody else's connection, with a transaction that commits late or never.
        holder: Another's, which holds jobs as a worker does that was stopped.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._runner = asyncio.Runner()
        self._opened = AsyncExitStack()
        self.world: PostgresWorld
        self.operator: AdministerCampaigns
        self.slow: asyncpg.Connection[asyncpg.Record]
        self.holder: asyncpg.Connection[asyncpg.Record]

    def run(self, awaited: Awaitable[T]) -> T:
        async def run() -> T:
            return await awaited

        return self._runner.run(run())

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self.world = self.run(self._opened.enter_async_context(opened_world(self._dsn)))
        self.operator = AdministerCampaigns(campaigns=PostgresCampaignAdministration(self.world.pool), ids=RandomIds())
        self.slow = self.run(self._opened.enter_async_context(bystander(self._dsn)))
        self.holder = self.run(self._opened.enter_async_context(bystander(self._dsn)))
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._opened.aclose())
        self._runner.close()

    async def clear(self) -> None:
        """Leave no jobs, and of what was before nothing that is still served; grants cannot be removed."""
        await self.world.outside.execute(
            "DELETE FROM jobs; DELETE FROM dead_jobs; DELETE FROM job_batches; DELETE FROM entrants;"
            " UPDATE campaigns SET state = 'ended', ended_at = now() - interval '2 days'"
        )


class CampaignStates(RuleBasedStateMachine):
    """A campaign, its people, two workers, one operator."""

    scene: Scene

    def __init__(self) -> None:
        super().__init__()
        self.late: tuple[list[Person], list[int], str] | None = None
        self.is_held = False

    @initialize(
        cap=st.integers(2, 6),
        rank_by=st.sampled_from([RankBy.LOGIN, RankBy.LOGIN, RankBy.REGISTRATION]),
        passes_on=st.booleans(),
        picks=st.lists(PICKS, min_size=2, max_size=6),
        fates=FATES,
    )
    def a_campaign_begins(self, cap: int, rank_by: RankBy, passes_on: bool, picks: list[int], fates: list[Fate]) -> None:
        """And some come at once: an example in which nobody does shows nothing."""
        self.model = CampaignModel(cap, rank_by, passes_on)
        self.code = f"c{uuid4().hex}"
        seat_hours = 1 if rank_by is RankBy.REGISTRATION else None

        async def begin() -> UUID:
            await self.scene.clear()
            columns: dict[str, Any] = {"rank_by": rank_by.value, "seat_hours": seat_hours, "passes_on": passes_on}
            return await make_campaign(self.outside, code=self.code, cap=cap, **columns)

        self.campaign = self.run(begin())
        self.people_register(count=cap + 4)
        self.people_log_in(picks=picks, fates=fates, is_served=True)

    @rule(count=st.integers(1, 3))
    def people_register(self, count: int) -> None:
        """Also while the campaign is paused or over: then they take no part."""
        for _ in range(count):
            user = NewUser(
                user_id=uuid4(),
                username=f"u{uuid4().hex}",
                email=None,
                phone_number=None,
                password_hash="$argon2id$",
                full_name=None,
                birth_date=None,
                campaign=self.code,
            )
            self.run(self.world.users.add(user))
            self.meet(user.user_id)

    @precondition(lambda self: self.late is None and self.model.state is CampaignState.ACTIVE)
    @rule(count=st.integers(1, 2))
    def people_register_and_commit_late(self, count: int) -> None:
        self.run(self.scene.slow.execute("BEGIN"))
        users = self.run(enter(self.scene.slow, self.campaign, count))
        people = []
        for user in users:
            number = self.run(self.scene.slow.fetchval("SELECT entrant_id FROM entrants WHERE user_id = $1", user))
            people.append(Person(user, number))
        self.late = (people, [], "register")

    @precondition(lambda self: self.there())
    @rule(
        picks=st.lists(PICKS, min_size=1, max_size=4),
        fates=FATES,
        is_served=st.booleans(),
    )
    def people_log_in(self, picks: list[int], fates: list[Fate], is_served: bool) -> None:
        """Perhaps a worker has a round then: what goes wrong goes wrong in such a moment."""
        people = [self.pick(pick) for pick in picks]
        jobs = self.run(log_in(self.outside, [person.user for person in people]))
        self.note(people, jobs)
        for job, fate in zip(jobs, fates, strict=False):
            self.bring_about(fate, job)
        if is_served:
            self.a_worker_grants()

    @precondition(lambda self: self.late is None and self.there())
    @rule(late=st.lists(PICKS, min_size=1, max_size=2, unique=True), others=st.lists(PICKS, min_size=1, max_size=3))
    def people_log_in_and_commit_later_than_others(self, late: list[int], others: list[int]) -> None:
        people = [self.pick(pick) for pick in late]
        self.run(self.scene.slow.execute("BEGIN"))
        jobs = self.run(log_in(self.scene.slow, [person.user for person in people]))
        if self.model.state is CampaignState.ENDED:
            people, jobs = [], []
        self.late = (people, jobs, "log in")
        self.people_log_in(picks=others, fates=[Fate.DONE] * len(others), is_served=True)

    @precondition(lambda self: self.late is not None)
    @rule(commits=st.booleans())
    def the_late_ones_end(self, commits: bool) -> None:
        assert self.late is not None
        people, jobs, kind = self.late
        self.late = None
        self.run(self.scene.slow.execute("COMMIT" if commits else "ROLLBACK"))
        if not commits:
            return
        if kind == "register":
            self.model.people += people
        for person, job in zip(people, jobs, strict=False):
            person.logins.append(job)

    @rule(at_most=st.integers(1, 5))
    def a_worker_does_the_first_jobs(self, at_most: int) -> None:
        self.run(do_jobs(self.world, at_most=at_most))

    @rule()
    def a_worker_grants(self) -> None:
        self.run(self.granting()())

    @rule(at_most=st.integers(1, 5))
    def two_workers_do_all_at_once(self, at_most: int) -> None:
        async def both() -> None:
            await asyncio.gather(
                do_jobs(self.world, at_most=at_most), self.granting()(), do_jobs(self.world), self.granting()()
            )

        self.run(both())

    def bring_about(self, fate: Fate, job: int) -> None:
        """Let that become of *job*, if nothing else becomes of it already."""
        match fate:
            case Fate.DONE:
                self.run(self.do(job))
            case Fate.FAILS if not self.is_held:
                failing = "UPDATE jobs SET tries = 1, error = 'Error', due_at = now() + interval '1 h' WHERE job_id = $1"
                self.run(self.outside.execute(failing, job))
            case Fate.DIES if not self.is_held:
                self.run(self.world.pool.fetch("bury_job", job, 8, "Error"))
            case Fate.HELD if not self.is_held:
                self.run(self.scene.holder.execute("BEGIN"))
                self.run(self.scene.holder.execute("SELECT FROM jobs WHERE job_id = $1 FOR UPDATE", job))
                self.is_held = True
            case _:
                pass

    async def do(self, job: int) -> None:
        """As the queue names them, in whatever order."""
        async with PostgresJobs(self.world.pool).take_named([JobKind.LOGIN_SUCCEEDED], [job]) as batch:
            await RecordEvents(welcomes=False)(batch)

    @precondition(lambda self: not self.is_held)
    @rule(pick=PICKS, fate=st.sampled_from(Fate))
    def something_becomes_of_a_job(self, pick: int, fate: Fate) -> None:
        jobs = self.jobs()
        if jobs:
            self.bring_about(fate, jobs[pick % len(jobs)])

    @precondition(lambda self: self.is_held)
    @rule()
    def it_dies(self) -> None:
        self.is_held = False
        self.run(self.scene.holder.execute("ROLLBACK"))

    @precondition(lambda self: not self.is_held)
    @rule()
    def an_operator_retries_jobs(self) -> None:
        self.run(self.world.pool.fetch("retry_jobs", None, UNFINISHED))

    @precondition(lambda self: self.model.state in {CampaignState.ACTIVE, CampaignState.PAUSED})
    @rule()
    def the_operator_pauses_or_resumes(self) -> None:
        is_active = self.model.state is CampaignState.ACTIVE
        self.model.state = CampaignState.PAUSED if is_active else CampaignState.ACTIVE
        self.run(self.scene.operator.step(self.code, CampaignStep.PAUSE if is_active else CampaignStep.RESUME, by="test"))

    @precondition(lambda self: self.model.state is not CampaignState.ENDED and self.is_old())
    @rule()
    def the_operator_ends_it(self) -> None:
        self.model.state = CampaignState.ENDED
        self.run(self.scene.operator.step(self.code, CampaignStep.END, by="test"))

    @rule(pick=PICKS)
    def the_operator_voids_a_grant(self, pick: int) -> None:
        granted = [seat for seat in self.seats() if seat.state is GrantState.GRANTED]
        if granted:
            user = granted[pick % len(granted)].user
            self.run(self.scene.operator.void(self.code, user, reason="fraud", by="test"))

    @precondition(lambda self: self.model.rank_by is RankBy.REGISTRATION)
    @rule(pick=PICKS)
    def the_time_of_a_seat_is_over(self, pick: int) -> None:
        """Of somebody who has not begun to log in, for nobody can have done so long ago."""
        known = {person.user: person for person in self.model.people}
        begun = self.late[0] if self.late is not None else []
        idle = [
            known[seat.user]
            for seat in self.seats()
            if seat.state is GrantState.HELD and not known[seat.user].logins and known[seat.user] not in begun
        ]
        if idle:
            person = idle[pick % len(idle)]
            person.is_late = True
            self.run(
                self.outside.execute(
                    "UPDATE grants SET held_until = now() - $3::interval WHERE campaign_id = $1 AND user_id = $2",
                    self.campaign,
                    person.user,
                    timedelta(minutes=5),
                )
            )

    @precondition(lambda self: self.late is None and self.there())
    @rule(pick=PICKS)
    def somebody_is_deleted(self, pick: int) -> None:
        person = self.pick(pick)
        person.is_there = False
        self.run(self.world.delete(person.user))

    @rule()
    def all_come_to_rest(self) -> None:
        """Every job that can be done is done; those that have failed, and the dead, stay."""
        if self.late is not None:
            self.the_late_ones_end(commits=True)
        if self.is_held:
            self.it_dies()
        before: list[Seat] | None = None
        for _ in range(_REST_ROUNDS_MAX):
            self.run(do_jobs(self.world))
            self.run(granting(self.world)())
            seats = self.seats()
            if seats == before:
                break
            before = seats
        assert not list(self.model.faults_at_rest(self.seats()))

    @invariant()
    def nothing_is_as_it_must_not_be(self) -> None:
        assert not list(self.model.faults(self.seats()))

    @invariant()
    def counters_equal_rows(self) -> None:
        row = self.run(
            self.outside.fetchrow(
                "SELECT issued, held, state, cap,"
                " (SELECT count(*) FROM grants WHERE campaign_id = $1 AND grants.state IN ('granted', 'voided'))"
                " AS has_issued,"
                " (SELECT count(*) FROM grants WHERE campaign_id = $1 AND grants.state = 'held') AS has_held"
                " FROM campaigns WHERE campaign_id = $1",
                self.campaign,
            )
        )
        assert row is not None
        assert (row["issued"], row["held"]) == (row["has_issued"], row["has_held"])
        is_sold_out = self.model.state is CampaignState.ACTIVE and row["issued"] == row["cap"]
        assert row["state"] == (CampaignState.EXHAUSTED if is_sold_out else self.model.state)

    @invariant()
    def coupons_and_mirrors_are_those_of_the_grants(self) -> None:
        seats = self.seats()
        mirrored = self.run(
            self.outside.fetch(
                "SELECT userid, unnest(discount) AS couponid FROM users WHERE userid = ANY ($1)",
                [person.user for person in self.model.people],
            )
        )
        there = {person.user for person in self.model.people if person.is_there}
        shown = [(seat.user, seat.couponid) for seat in seats if seat.state is GrantState.GRANTED and seat.user in there]
        assert sorted((row["userid"], row["couponid"]) for row in mirrored) == sorted(shown)
        without = (
            "SELECT count(*) FROM coupons WHERE NOT EXISTS (SELECT FROM grants WHERE grants.couponid = coupons.couponid)"
        )
        assert self.run(self.outside.fetchval(without)) == 0
        told = self.run(
            self.outside.fetch(
                "SELECT user_id FROM (SELECT kind, user_id, detail FROM jobs"
                " UNION ALL SELECT event, user_id, detail FROM audit"
                " UNION ALL SELECT kind, user_id, detail FROM dead_jobs) AS told"
                " WHERE kind = 'coupon_granted' AND detail ->> 'campaign_id' = $1",
                str(self.campaign),
            )
        )
        assert sorted(row["user_id"] for row in told) == sorted(seat.user for seat in seats if seat.couponid is not None)

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.all_come_to_rest()

    @property
    def world(self) -> PostgresWorld:
        return self.scene.world

    @property
    def outside(self) -> "asyncpg.Connection[asyncpg.Record]":
        return self.world.outside

    def run(self, awaited: Awaitable[T]) -> T:
        return self.scene.run(awaited)

    def granting(self) -> Callable[[], Awaitable[bool]]:
        """A round that gives up at once where it would wait for whoever commits late."""
        return granting(self.world, patience=self.late is None)

    def is_old(self) -> bool:
        """Enough has happened: the earlier the end, the less there is to see."""
        return sum(len(person.logins) for person in self.model.people) > 3

    def there(self) -> list[Person]:
        return [person for person in self.model.people if person.is_there]

    def pick(self, pick: int) -> Person:
        there = self.there()
        return there[pick % len(there)]

    def meet(self, user: UUID) -> None:
        number = self.run(
            self.outside.fetchval(
                "SELECT entrant_id FROM entrants WHERE user_id = $1 AND campaign_id = $2", user, self.campaign
            )
        )
        assert (number is not None) == (self.model.state is CampaignState.ACTIVE)
        self.model.people.append(Person(user, number))

    def note(self, people: list[Person], jobs: list[int]) -> None:
        if self.model.state is not CampaignState.ENDED:
            for person, job in zip(people, jobs, strict=True):
                person.logins.append(job)

    def jobs(self) -> list[int]:
        """Those of logins."""
        rows = self.run(self.outside.fetch("SELECT job_id FROM jobs WHERE kind = 'login_succeeded' ORDER BY job_id"))
        return [row["job_id"] for row in rows]

    def seats(self) -> list[Seat]:
        rows = self.run(
            self.outside.fetch(
                "SELECT user_id, rank, state, couponid FROM grants WHERE campaign_id = $1 ORDER BY rank", self.campaign
            )
        )
        return [Seat(row["user_id"], row["rank"], GrantState(row["state"]), row["couponid"]) for row in rows]


def _run(dsn: str, *, examples: int, steps: int) -> None:
    with Scene(dsn) as scene:
        machine = type("Machine", (CampaignStates,), {"scene": scene})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_coupons_follow_from_who_came_when_whatever_happens_in_whatever_order(database: str) -> None:
    _run(database, examples=40, steps=25)


@pytest.mark.full
def test_coupons_follow_from_who_came_when_in_many_more_orders(database: str) -> None:
    _run(database, examples=300, steps=50)
