"""What a person sees of a campaign while it runs, once a second, at a price that nobody else notices."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final

from tidegate.domain.campaigns import CampaignState, RankBy
from tidegate.storage.connections import Row
from tidegate.storage.pools import PrimaryPool

JOBS_COUNTED_MAX: Final = 10_000
"""More is told as so many."""

_SETTLED_AFTER_S: Final = 5.0
"""A number that was seen for so long has none below it that is still to come, or next to none."""

_COUNTED_ANEW_AFTER_S: Final = 60.0
"""For those next to none, and for users who were deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignLook:
    """A campaign at a moment.

    Attributes:
        registrations: Who takes part.
        first_logins: Those of them whose first login is noted, which ends when no coupon is left for them.
        issued: Seats that became coupons, the voided ones too.
        held: Seats without a coupon yet.
        jobs_waiting: Of all kinds, up to `JOBS_COUNTED_MAX`.
        oldest_job_s: How long the oldest has waited.
        last_delay_s: From the first login to the grant, of the last who got one; None: nobody did, or they rank by
            registration.
    """

    code: str
    name: str
    state: CampaignState
    rank_by: RankBy
    closes_at: datetime
    cap: int
    issued: int
    held: int
    registrations: int
    first_logins: int
    jobs_waiting: int
    oldest_job_s: float
    last_delay_s: float | None

    @property
    def left(self) -> int:
        """Seats that nobody has."""
        return self.cap - self.issued - self.held

    @property
    def is_done(self) -> bool:
        """Whether it is sold out or over; of one that is over the last coupons may still be under way."""
        return self.state in (CampaignState.ENDED, CampaignState.EXHAUSTED)


class Tally:
    """Counts rows by a growing number, each of them once: rows whose number has been seen for a while are not read again.

    Numbers become visible out of order, so the newest are counted anew at each look, and everything from time to time.
    """

    def __init__(self) -> None:
        self._counted = 0
        self._counted_at_s = 0.0
        self._seen: deque[tuple[float, int]] = deque()
        self.beyond = 0
        self.settles = 0

    def begin(self, now_s: float) -> None:
        """Settle for a look at *now_s* what is to be counted: beyond `beyond`, and of that up to `settles` for good."""
        if now_s - self._counted_at_s >= _COUNTED_ANEW_AFTER_S:
            self._counted, self._counted_at_s, self.beyond = 0, now_s, 0
        while self._seen and self._seen[0][0] <= now_s - _SETTLED_AFTER_S:
            self.settles = max(self.settles, self._seen.popleft()[1])

    def total(self, now_s: float, *, found: int, settled: int, last: int | None) -> int:
        """How many there are.

        Args:
            now_s: When they were looked at.
            found: Beyond `beyond`.
            settled: Of those, up to `settles`.
            last: The highest number of them.
        """
        whole = self._counted + found
        self._counted += settled
        self.beyond = self.settles
        if last is not None:
            self._seen.append((now_s, last))
        return whole


class PostgresCampaignWatch:
    """One campaign, watched by one person."""

    def __init__(self, pool: PrimaryPool, code: str, *, clock: Callable[[], float] = monotonic) -> None:
        """Nothing is asked before `look`.

        Args:
            pool: Lends one connection.
            code: Of the campaign.
            clock: In seconds; tests hold it.
        """
        self._pool = pool
        self._code = code
        self._clock = clock
        self._registered = Tally()
        self._logged_in = Tally()

    async def look(self) -> CampaignLook | None:
        """How it is now; None if there is no such campaign.

        Raises:
            DatabaseUnavailable: The primary does not answer; the next look may follow.
        """
        now_s = self._clock()
        for tally in (self._registered, self._logged_in):
            tally.begin(now_s)
        row = await self._pool.fetchrow(
            "watch_campaign",
            self._code,
            self._registered.beyond,
            self._registered.settles,
            self._logged_in.beyond,
            self._logged_in.settles,
            JOBS_COUNTED_MAX,
        )
        return None if row is None else self._told(now_s, row)

    def _told(self, now_s: float, row: Row) -> CampaignLook:
        return CampaignLook(
            code=row["code"],
            name=row["name"],
            state=CampaignState(row["state"]),
            rank_by=RankBy(row["rank_by"]),
            closes_at=row["closes_at"],
            cap=row["cap"],
            issued=row["issued"],
            held=row["held"],
            registrations=self._registered.total(
                now_s, found=row["registered"], settled=row["registered_settled"], last=row["registered_last"]
            ),
            first_logins=self._logged_in.total(
                now_s, found=row["logged_in"], settled=row["logged_in_settled"], last=row["logged_in_last"]
            ),
            jobs_waiting=row["jobs_waiting"],
            oldest_job_s=row["oldest_job_s"],
            last_delay_s=row["last_delay_s"],
        )
