"""What an operator does to campaigns, by the same rules whether on the command line or over HTTP (DESIGN 5.8, ADR 0027)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from tidegate.domain.campaign_steps import (
    Campaign,
    CampaignCounts,
    CampaignStep,
    read_by,
    read_reason,
    state_after,
    state_when_voided,
)
from tidegate.domain.campaigns import CampaignState, GrantState, Terms, read_campaign_code
from tidegate.domain.coupon_codes import read_coupon_code
from tidegate.domain.errors import UnknownCampaign, UnknownGrant
from tidegate.ports.campaign_administration import CampaignAdministration
from tidegate.ports.ids import Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Voided:
    """A coupon that was taken back.

    Attributes:
        campaign: Its code.
        state: Returned: the seat goes to the next; voided: it stays taken.
    """

    campaign: str
    user_id: UUID
    couponid: UUID
    state: GrantState


@dataclass(frozen=True, slots=True, kw_only=True)
class AdministerCampaigns:
    """Makes, shows and steers campaigns. *by* says in the audit who did it, such as ``cli:root``."""

    campaigns: CampaignAdministration
    ids: Ids

    async def create(self, terms: Terms, *, is_draft: bool, by: str) -> Campaign:
        """Make a campaign, which admits from `Terms.opens_at` on, or, as a draft, not before it is resumed.

        Raises:
            InvalidRequest: With every field at fault.
            CampaignCodeTaken: Another has the code.
        """
        terms.check()
        terms = replace(terms, code=read_campaign_code(terms.code, field="code"))
        state = CampaignState.DRAFT if is_draft else CampaignState.ACTIVE
        await self.campaigns.add(self.ids.campaign_id(), terms, state, by=read_by(by))
        return await self._find(terms.code)

    async def listed(self) -> Sequence[Campaign]:
        """Every campaign, the newest first."""
        return await self.campaigns.listed()

    async def show(self, code: str) -> tuple[Campaign, CampaignCounts]:
        """The campaign of *code*, and how far it is.

        Raises:
            InvalidRequest: No campaign can have this code.
            UnknownCampaign: None has it.
        """
        campaign = await self._find(read_campaign_code(code, field="code"))
        return campaign, await self.campaigns.counts(campaign.campaign_id)

    async def step(self, code: str, step: CampaignStep, *, by: str) -> Campaign:
        """Pause, resume or end the campaign of *code*; as it stands then.

        Raises:
            InvalidRequest: As `show`; or *by* tells nothing.
            UnknownCampaign: As `show`.
            CampaignStepRefused: It is in no state to do that.
        """
        by = read_by(by)
        async with self.campaigns.take(read_campaign_code(code, field="code")) as taken:
            campaign = taken.campaign
            to = state_after(campaign.state, step, is_full=campaign.issued == campaign.terms.cap)
            ended_at = await taken.move(step, to, by=by)
        return replace(campaign, state=to, ended_at=ended_at)

    async def void(self, code: str, user_id: UUID, *, reason: str, by: str) -> Voided:
        """Take back the coupon of *user_id* in the campaign of *code*; the user may be gone.

        Raises:
            InvalidRequest: As `show`; or no reason is given, or one too long.
            UnknownCampaign: As `show`.
            UnknownGrant: The user has nothing there.
            CouponNotVoidable: Only a seat, nothing any more, or it has been redeemed.
        """
        reason, by = read_reason(reason), read_by(by)
        async with self.campaigns.take(read_campaign_code(code, field="code")) as taken:
            grant = await taken.grant_of(user_id)
            if grant is None:
                raise UnknownGrant
            to = state_when_voided(grant, passes_on=taken.campaign.terms.passes_on)
            assert grant.couponid is not None  # it is granted
            await taken.void(grant, to, reason=reason, by=by)
        return Voided(campaign=taken.campaign.terms.code, user_id=user_id, couponid=grant.couponid, state=to)

    async def void_coupon(self, coupon_code: str, *, reason: str, by: str) -> Voided:
        """Take back the coupon of *coupon_code*, as people write it. Raises as `void`, UnknownGrant for an unknown code."""
        code = read_coupon_code(coupon_code)
        holder = None if code is None else await self.campaigns.holder(code)
        if holder is None:
            raise UnknownGrant
        return await self.void(*holder, reason=reason, by=by)

    async def _find(self, code: str) -> Campaign:
        campaign = await self.campaigns.find(code)
        if campaign is None:
            raise UnknownCampaign
        return campaign
