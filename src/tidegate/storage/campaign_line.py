"""The lines of campaigns in PostgreSQL, and how it is known that nobody can turn up any more who was there before."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from time import monotonic
from typing import Final

from tidegate.domain.campaigns import Known, OpenCampaign, Place, RankBy, Win
from tidegate.storage.connections import PrimaryConnection, Row
from tidegate.storage.pools import PrimaryPool

_PATIENCE_S: Final = 1.0
"""Longer than our own statements may take: a login that waits for a lock until it is cut off holds up one round."""

_WRITERS_LOOKED_AT_S: Final = 0.005

_LOGINS_LOOKED_AT_MAX: Final = 10_000
"""Waiting jobs that are searched for first logins; beyond the last of them nobody is served in this round."""


class PostgresCampaignLine:
    """`ports.campaigns.CampaignLine`."""

    def __init__(self, pool: PrimaryPool, *, statement_timeout_s: float, clock: Callable[[], float] = monotonic) -> None:
        """Keep what is given.

        Args:
            pool: Lends one connection at a time.
            statement_timeout_s: After which every node's statements and idle transactions are cut off.
            clock: In seconds; tests hold it.
        """
        self._pool = pool
        self._writers_waited_for_s = statement_timeout_s + _PATIENCE_S
        self._clock = clock

    async def to_serve(self) -> Sequence[OpenCampaign]:
        """See `ports.campaigns.CampaignLine.to_serve`."""
        return [OpenCampaign(row[0], RankBy(row[1])) for row in await self._pool.fetch("campaigns_to_serve")]

    async def known(self) -> Known | None:
        """See `ports.campaigns.CampaignLine.known`. The steps are explained in sql/campaign_line.sql."""
        last = await self._pool.fetchrow("last_places")
        assert last is not None  # it has no WHERE
        if not await self._writers_have_ended():
            return None
        first = await self._pool.fetchrow("first_unnoted_login", last["job_id"], _LOGINS_LOOKED_AT_MAX)
        assert first is not None  # likewise
        known = _known(last, first)
        await self._pool.fetch("note_unfinished_logins", known.job_id)
        return known

    async def _writers_have_ended(self) -> bool:
        """Wait for everybody who writes jobs or entrants at this moment, but not for who begins after it."""
        until = self._clock() + self._writers_waited_for_s
        left = await self._writers()
        while left and self._clock() < until:
            await asyncio.sleep(_WRITERS_LOOKED_AT_S)
            left &= await self._writers()
        return not left

    async def _writers(self) -> frozenset[str]:
        return frozenset(row["writer"] for row in await self._pool.fetch("writers_of_places"))

    @asynccontextmanager
    async def turn(self, campaign: OpenCampaign) -> AsyncIterator["PostgresTurn | None"]:
        """See `ports.campaigns.CampaignLine.turn`."""
        async with self._pool.transaction() as work:
            taken = await work.fetchrow("take_turn", campaign.campaign_id)
            yield None if taken is None else PostgresTurn(work, campaign, free=taken["free"])


class PostgresTurn:
    """`ports.campaigns.Turn`: lives as long as its transaction."""

    def __init__(self, work: PrimaryConnection, campaign: OpenCampaign, *, free: int) -> None:
        self._work = work
        self._campaign = campaign.campaign_id
        self.free = free

    async def next_by_login(self, known: Known, *, at_most: int) -> Sequence[Place]:
        """See `ports.campaigns.Turn.next_by_login`."""
        return _places(await self._work.fetch("next_by_login", self._campaign, known.job_id, at_most))

    async def hold_seats(self, known: Known, *, at_most: int) -> int:
        """See `ports.campaigns.Turn.hold_seats`."""
        return len(await self._work.fetch("hold_seats", self._campaign, known.entrant_id, at_most))

    async def lapse_seats(self, known: Known) -> int:
        """See `ports.campaigns.Turn.lapse_seats`."""
        return len(await self._work.fetch("lapse_seats", self._campaign, known.at))

    async def seats_to_grant(self, *, at_most: int) -> Sequence[Place]:
        """See `ports.campaigns.Turn.seats_to_grant`."""
        return _places(await self._work.fetch("seats_to_grant", self._campaign, at_most))

    async def lock(self, places: Sequence[Place]) -> Sequence[Place]:
        """See `ports.campaigns.Turn.lock`."""
        there = {row["userid"] for row in await self._work.fetch("lock_winners", [place.user_id for place in places])}
        return [place for place in places if place.user_id in there]

    async def grant(self, wins: Sequence[Win], *, are_held: bool) -> None:
        """See `ports.campaigns.Turn.grant`."""
        users = [win.place.user_id for win in wins]
        coupons = [win.couponid for win in wins]
        await self._work.fetch("make_coupons", self._campaign, coupons, [win.code for win in wins])
        if are_held:
            await self._work.fetch("grant_held_seats", self._campaign, users, coupons)
        else:
            await self._work.fetch("grant_coupons", self._campaign, users, [win.place.rank for win in wins], coupons)
        await self._work.fetch("mirror_coupons", users, coupons)
        await self._work.fetch("put_granted", self._campaign, users, coupons)


def _places(rows: Sequence[Row]) -> list[Place]:
    return [Place(row["user_id"], row["rank"]) for row in rows]


def _known(last: Row, first: Row) -> Known:
    """What *last* numbers are known, cut short before the *first* login that is not noted, or where the search stopped."""
    job_id: int = last["job_id"]
    at: datetime = last["at"]
    if first["job_id"] is not None:
        job_id, at = min(job_id, first["job_id"] - 1), min(at, first["at"])
    elif first["past_to"] is not None:
        job_id, at = min(job_id, first["past_to"]), min(at, first["past_at"])
    return Known(job_id, last["entrant_id"], at)
