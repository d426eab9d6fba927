"""Campaigns in PostgreSQL as an operator makes and steers them; each step is one transaction with its note."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from tidegate.domain.campaign_steps import Campaign, CampaignCounts, CampaignStep, Grant
from tidegate.domain.campaigns import CampaignState, GrantState, RankBy, Terms
from tidegate.domain.errors import CampaignCodeTaken, FieldFault, UnknownCampaign
from tidegate.storage.connections import PrimaryConnection, Row
from tidegate.storage.failures import UniqueViolated
from tidegate.storage.pools import PrimaryPool


class PostgresCampaignAdministration:
    """`ports.campaign_administration.CampaignAdministration`."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool

    async def add(self, campaign_id: UUID, terms: Terms, state: CampaignState, *, by: str) -> None:
        """See `ports.campaign_administration.CampaignAdministration.add`."""
        columns = (
            terms.code,
            terms.name,
            terms.opens_at,
            terms.closes_at,
            terms.cap,
            terms.percent,
            terms.coupon_days,
            terms.rank_by,
            terms.seat_hours,
            terms.passes_on,
        )
        try:
            await self._pool.fetch("add_campaign", campaign_id, *columns, state, by)
        except UniqueViolated as violated:
            if violated.constraint != "campaigns_code_unique":
                raise
            raise CampaignCodeTaken(FieldFault("code", "taken")) from None

    async def listed(self) -> Sequence[Campaign]:
        """See `ports.campaign_administration.CampaignAdministration.listed`."""
        return [_campaign(row) for row in await self._pool.fetch("list_campaigns")]

    async def find(self, code: str) -> Campaign | None:
        """See `ports.campaign_administration.CampaignAdministration.find`."""
        row = await self._pool.fetchrow("find_campaign", code)
        return None if row is None else _campaign(row)

    async def counts(self, campaign_id: UUID) -> CampaignCounts:
        """See `ports.campaign_administration.CampaignAdministration.counts`."""
        row = await self._pool.fetchrow("count_campaign", campaign_id)
        assert row is not None  # aggregates have a row
        return CampaignCounts(**dict(row))

    async def holder(self, coupon_code: str) -> tuple[str, UUID] | None:
        """See `ports.campaign_administration.CampaignAdministration.holder`."""
        row = await self._pool.fetchrow("coupon_holder", coupon_code)
        return None if row is None else (row["code"], row["user_id"])

    @asynccontextmanager
    async def take(self, code: str) -> AsyncIterator["PostgresCampaignInHand"]:
        """See `ports.campaign_administration.CampaignAdministration.take`."""
        async with self._pool.transaction() as work:
            row = await work.fetchrow("take_campaign", code)
            if row is None:
                raise UnknownCampaign
            yield PostgresCampaignInHand(work, _campaign(row))


class PostgresCampaignInHand:
    """`ports.campaign_administration.CampaignInHand`: lives as long as its transaction."""

    def __init__(self, work: PrimaryConnection, campaign: Campaign) -> None:
        self._work = work
        self.campaign = campaign

    async def move(self, step: CampaignStep, to: CampaignState, *, by: str) -> datetime | None:
        """See `ports.campaign_administration.CampaignInHand.move`."""
        row = await self._work.fetchrow("move_campaign", self.campaign.campaign_id, to, step, self.campaign.state, by)
        assert row is not None  # its row is locked
        ended_at: datetime | None = row["ended_at"]
        return ended_at

    async def grant_of(self, user_id: UUID) -> Grant | None:
        """See `ports.campaign_administration.CampaignInHand.grant_of`."""
        await self._work.fetch("lock_winners", [user_id])
        row = await self._work.fetchrow("lock_grant", self.campaign.campaign_id, user_id)
        if row is None:
            return None
        return Grant(
            user_id=row["user_id"],
            state=GrantState(row["state"]),
            couponid=row["couponid"],
            is_redeemed=row["is_redeemed"],
        )

    async def void(self, grant: Grant, to: GrantState, *, reason: str, by: str) -> None:
        """See `ports.campaign_administration.CampaignInHand.void`."""
        row = await self._work.fetchrow("void_grant", self.campaign.campaign_id, grant.user_id, to, reason, by)
        assert row is not None  # the grant is locked, and was good


def _campaign(row: Row) -> Campaign:
    return Campaign(
        campaign_id=row["campaign_id"],
        terms=Terms(
            code=row["code"],
            name=row["name"],
            opens_at=row["opens_at"],
            closes_at=row["closes_at"],
            cap=row["cap"],
            percent=row["percent"],
            coupon_days=row["coupon_days"],
            rank_by=RankBy(row["rank_by"]),
            seat_hours=row["seat_hours"],
            passes_on=row["passes_on"],
        ),
        state=CampaignState(row["state"]),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        issued=row["issued"],
        held=row["held"],
    )
