"""How far a user has come on the way to a coupon, and what anybody may see of a campaign (DESIGN 5.8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from tidegate.domain.campaigns import CampaignState, GrantState
from tidegate.domain.coupons import Coupon


class CouponStatus(StrEnum):
    """How far a user has come on the way to a coupon."""

    NONE = "none"
    """The user takes part in no campaign."""
    PENDING = "pending"
    """There may be a coupon in a moment, or there is a seat that is held."""
    GRANTED = "granted"
    SOLD_OUT = "sold_out"
    """Every coupon went to somebody else."""
    LAPSED = "lapsed"
    """A seat was held, and no login came in time."""
    VOIDED = "voided"
    """There was a coupon, and an operator has taken it back."""
    ENDED = "ended"
    """The campaign was over before the user's turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """One user in one campaign, as the rows say.

    Attributes:
        campaign: Its code.
        is_sold_out: Every seat became a coupon.
        is_served: The user had logged in before the campaign ended, and its last coupons may still be under way.
        grant: What became of the user's seat; None: there is none.
        held_until: Until when a seat is held.
        coupon: What was granted.
    """

    campaign: str
    campaign_state: CampaignState
    is_sold_out: bool
    is_served: bool
    grant: GrantState | None
    held_until: datetime | None
    coupon: Coupon | None

    @property
    def status(self) -> CouponStatus:
        """What the user is told."""
        match self.grant:
            case GrantState.GRANTED:
                return CouponStatus.GRANTED
            case GrantState.VOIDED | GrantState.RETURNED:
                return CouponStatus.VOIDED
            case GrantState.LAPSED:
                return CouponStatus.LAPSED
        if self.grant is None and self.is_sold_out:
            return CouponStatus.SOLD_OUT
        if self.campaign_state is CampaignState.ENDED and not self.is_served:
            return CouponStatus.ENDED
        return CouponStatus.PENDING


def coupons_in(participations: Sequence[Participation]) -> tuple[Coupon, ...]:
    """The coupons of somebody with *participations*."""
    return tuple(each.coupon for each in participations if each.coupon is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCampaign:
    """What anybody may see of a campaign that is no draft.

    Attributes:
        opens_at: From then on who registers through it takes part; aware.
        closes_at: Until then.
        seats_left: Without a coupon and not held, as of a moment ago.
    """

    code: str
    name: str
    opens_at: datetime
    closes_at: datetime
    percent: Decimal
    state: CampaignState
    seats_left: int
