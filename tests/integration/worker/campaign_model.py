"""What must be true of a campaign, in plain Python: a list of people in the order in which they came, and nothing else.

It knows no jobs, rounds or locks: whatever workers do when, coupons follow from who came when, and what the operator did.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from tidegate.domain.campaigns import CampaignState, GrantState, RankBy


@dataclass
class Person:
    """Somebody who has registered.

    Attributes:
        number: Their place among all who registered through the campaign; None: they take no part.
        logins: The ids of the jobs of their logins that count: those of before the campaign's end.
        is_late: The time of their held seat was over before the first of these.
        is_there: They have not been deleted.
    """

    user: UUID
    number: int | None
    logins: list[int] = field(default_factory=list)
    is_late: bool = False
    is_there: bool = True

    @property
    def first_login(self) -> int | None:
        return min(self.logins, default=None)


@dataclass(frozen=True)
class Seat:
    """A row of `grants`, as it was read."""

    user: UUID
    rank: int
    state: GrantState
    couponid: UUID | None


@dataclass
class CampaignModel:
    """One campaign.

    Attributes:
        state: As the operator has it; a campaign that is sold out is active here.
    """

    cap: int
    rank_by: RankBy
    passes_on: bool
    state: CampaignState = CampaignState.ACTIVE
    people: list[Person] = field(default_factory=list)

    def place(self, person: Person) -> int | None:
        """Where *person* stands in the line; None: nowhere."""
        if person.number is None:
            return None
        return person.first_login if self.rank_by is RankBy.LOGIN else person.number

    def faults(self, seats: Sequence[Seat]) -> Iterator[str]:
        """What must not be, at whatever moment *seats* were read."""
        known = {person.user: person for person in self.people}
        taken = [seat for seat in seats if seat.state in {GrantState.HELD, GrantState.GRANTED, GrantState.VOIDED}]
        if len(taken) > self.cap:
            yield f"{len(taken)} seats of {self.cap}"
        if len({seat.user for seat in seats}) < len(seats):
            yield "somebody has two seats"
        for seat in seats:
            person = known[seat.user]
            if self.place(person) != seat.rank:
                yield f"{seat} stands at {self.place(person)}"
            if seat.couponid is not None and person.first_login is None:
                yield f"{seat} without a login"
            if seat.couponid is not None and person.is_late:
                yield f"{seat} was granted too late"
            if seat.state is GrantState.LAPSED and person.first_login is not None and not person.is_late:
                yield f"{seat} has lapsed, and its user came in time"
            if seat.state is GrantState.RETURNED and not self.passes_on:
                yield f"{seat} came back"
        last = max((seat.rank for seat in seats), default=0)
        for person in self._unserved(seats):
            place = self.place(person)
            if place is not None and place < last:
                yield f"{person} was passed over: {last} has been served"

    def faults_at_rest(self, seats: Sequence[Seat]) -> Iterator[str]:
        """What must not be either once every job is done and every round has found nothing to do."""
        if self.state is CampaignState.PAUSED:
            return
        known = {person.user: person for person in self.people}
        for seat in seats:
            person = known[seat.user]
            if seat.state is GrantState.HELD and person.is_late:
                yield f"{seat} has not lapsed"
            if seat.state is GrantState.HELD and person.is_there and not person.is_late and person.logins:
                yield f"{seat} was not granted"
        free = self.cap - sum(seat.state in {GrantState.HELD, GrantState.GRANTED, GrantState.VOIDED} for seat in seats)
        if self.rank_by is RankBy.REGISTRATION and self.state is CampaignState.ENDED:
            return
        waiting = [person for person in self._unserved(seats) if self.place(person) is not None]
        if free and waiting:
            yield f"{free} seats are free, and {waiting[0]} waits"

    def _unserved(self, seats: Sequence[Seat]) -> Iterator[Person]:
        served = {seat.user for seat in seats}
        return (person for person in self.people if person.is_there and person.user not in served)
