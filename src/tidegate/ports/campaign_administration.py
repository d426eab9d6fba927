"""Campaigns as an operator makes and steers them."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from tidegate.domain.campaign_steps import Campaign, CampaignCounts, CampaignStep, Grant
from tidegate.domain.campaigns import CampaignState, GrantState, Terms


class CampaignInHand(Protocol):
    """One campaign that nobody else changes or grants from while this lives, in one transaction with what the audit hears.

    Attributes:
        campaign: As it stands.
    """

    campaign: Campaign

    async def move(self, step: CampaignStep, to: CampaignState, *, by: str) -> datetime | None:
        """Let it go on as *to*; when it ended, where that is its end."""

    async def grant_of(self, user_id: UUID) -> Grant | None:
        """What *user_id* has in it; neither that nor the user's row is changed by anybody else from now on."""

    async def void(self, grant: Grant, to: GrantState, *, reason: str, by: str) -> None:
        """Take back the coupon of *grant*, granted and not redeemed; its reservation ends, and the mirror follows."""


class CampaignAdministration(Protocol):
    """All campaigns, on the primary."""

    async def add(self, campaign_id: UUID, terms: Terms, state: CampaignState, *, by: str) -> None:
        """Make one of *terms*, which have been checked, and tell the audit.

        Raises:
            CampaignCodeTaken: Another has the code.
        """

    async def listed(self) -> Sequence[Campaign]:
        """Every one, the newest first."""

    async def find(self, code: str) -> Campaign | None:
        """The one of *code*."""

    async def counts(self, campaign_id: UUID) -> CampaignCounts:
        """How far it is, counted from the rows."""

    async def holder(self, coupon_code: str) -> tuple[str, UUID] | None:
        """The code of the campaign that granted *coupon_code*, and to whom."""

    def take(self, code: str) -> AbstractAsyncContextManager[CampaignInHand]:
        """Take the campaign of *code* in hand, after whoever has it.

        Raises:
            UnknownCampaign: There is none.
        """
