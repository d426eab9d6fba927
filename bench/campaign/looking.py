"""Looks at one campaign again and again while it is served, and afterwards reads from the rows what happened when."""

import asyncio
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
from bench.ground import CannotMeasureError
from bench.histogram import Histogram

LOOK_S: Final = 0.02
"""Between two looks: one row by its key, some 100 us of PostgreSQL each."""

STEP_S: Final = 0.25
"""Between two points of a plot."""


class Look(NamedTuple):
    """How many coupons could be seen at a moment of the primary's clock."""

    at_s: float
    issued: int


@dataclass(frozen=True, slots=True)
class Happened:
    """What the rows tell of a campaign, in seconds of the primary's clock.

    Attributes:
        first_logins: When each entrant's first session began, the earliest first, whether it won or not.
        won: When each winner logged in, by rank.
        granted: When each grant was made, by rank.
    """

    first_logins: Sequence[float]
    won: Sequence[float]
    granted: Sequence[float]


class Looking:
    """A thread that looks, so that whoever drives the load need not."""

    def __init__(self, dsn: str, campaign: UUID) -> None:
        self._dsn = dsn
        self._campaign = campaign
        self._is_ending = threading.Event()
        self._failure: BaseException | None = None
        self.looks: list[Look] = []

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Look until the block ends.

        Raises:
            CannotMeasureError: The primary cannot be asked.
        """
        thread = threading.Thread(target=self._run, name="looking")
        thread.start()
        try:
            yield
        finally:
            self._is_ending.set()
            thread.join()
        if self._failure is not None:
            raise CannotMeasureError("The campaign cannot be looked at any more.") from self._failure

    @property
    def issued(self) -> int:
        """How many coupons were out at the last look."""
        return self.looks[-1].issued if self.looks else 0

    def wait_until(self, issued: int, *, timeout_s: float) -> None:
        """Return when so many coupons are out, and can be seen.

        Raises:
            CannotMeasureError: That takes too long.
        """
        ends_at = monotonic() + timeout_s
        while not self.looks or self.looks[-1].issued < issued:
            if self._failure is not None or monotonic() > ends_at:
                raise CannotMeasureError(f"{issued} coupons were to be granted; the last look says {self.looks[-1:]}.")
            self._is_ending.wait(LOOK_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._look())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._failure = error

    async def _look(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        try:
            asking = await connection.prepare(
                "SELECT extract(epoch FROM clock_timestamp())::float8, issued FROM campaigns WHERE campaign_id = $1"
            )
            while not self._is_ending.is_set():
                row = await asking.fetchrow(self._campaign)
                assert row is not None  # campaigns are not removed
                self.looks.append(Look(row[0], row[1]))
                await asyncio.sleep(LOOK_S)
        finally:
            await connection.close()


async def happened(dsn: str, campaign: UUID) -> Happened:
    """Read what the rows tell of *campaign*."""
    connection = await asyncpg.connect(dsn)
    try:
        logins = await connection.fetch(
            "SELECT extract(epoch FROM min(sessions.created_at))::float8 AS at_s"
            " FROM entrants JOIN sessions USING (user_id) WHERE campaign_id = $1 GROUP BY user_id ORDER BY 1",
            campaign,
        )
        grants = await connection.fetch(
            "SELECT extract(epoch FROM login_at)::float8 AS won, extract(epoch FROM granted_at)::float8 AS granted"
            " FROM grants JOIN entrants USING (user_id, campaign_id) WHERE campaign_id = $1 AND state = 'granted'"
            " ORDER BY rank",
            campaign,
        )
    finally:
        await connection.close()
    return Happened([row["at_s"] for row in logins], [row["won"] for row in grants], [row["granted"] for row in grants])


def delays_by_rows(found: Happened) -> Histogram:
    """From each winner's login to the grant."""
    return Histogram.of(granted - won for won, granted in zip(found.won, found.granted, strict=True))


def delays_seen(found: Happened, looks: Sequence[Look]) -> Histogram:
    """From each winner's login to the first look that saw the grant. Those that no look saw are left out.

    They come in the order of their ranks, so that the n-th is there once n are.
    """
    delays: list[float] = []
    for before, look in pairwise([Look(0.0, 0), *looks]):
        delays += [look.at_s - won for won in found.won[before.issued : look.issued]]
    return Histogram.of(delays)


def counts_by(times: Sequence[float], *, start_s: float, steps: int, step_s: float = STEP_S) -> list[int]:
    """How many of *times*, in order, were over at each of so many *steps* from *start_s* on."""
    return [bisect_right(times, start_s + step * step_s) for step in range(steps)]


def issued_by(looks: Sequence[Look], *, start_s: float, steps: int, step_s: float = STEP_S) -> list[int]:
    """How many coupons could be seen at each of so many *steps* from *start_s* on."""
    times = [look.at_s for look in looks]
    found = [bisect_right(times, start_s + step * step_s) for step in range(steps)]
    return [looks[place - 1].issued if place else 0 for place in found]
