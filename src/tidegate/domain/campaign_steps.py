"""What an operator may let a campaign and a coupon do, and from which state (DESIGN 5.8, ADR 0027)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final
from uuid import UUID

from tidegate.domain.campaigns import CampaignState, GrantState, Terms
from tidegate.domain.errors import CampaignStepRefused, CouponNotVoidable, FieldFault, InvalidRequest

REASON_LENGTH_MAX: Final = 255
BY_LENGTH_MAX: Final = 64


class CampaignStep(StrEnum):
    """What an operator lets a campaign do."""

    PAUSE = "pause"
    RESUME = "resume"
    """Also what begins a draft."""
    END = "end"


NEXT: Final[Mapping[tuple[CampaignState, CampaignStep], CampaignState]] = {
    (CampaignState.DRAFT, CampaignStep.RESUME): CampaignState.ACTIVE,
    (CampaignState.DRAFT, CampaignStep.END): CampaignState.ENDED,
    (CampaignState.ACTIVE, CampaignStep.PAUSE): CampaignState.PAUSED,
    (CampaignState.ACTIVE, CampaignStep.END): CampaignState.ENDED,
    (CampaignState.PAUSED, CampaignStep.RESUME): CampaignState.ACTIVE,
    (CampaignState.PAUSED, CampaignStep.END): CampaignState.ENDED,
    (CampaignState.EXHAUSTED, CampaignStep.PAUSE): CampaignState.PAUSED,
    (CampaignState.EXHAUSTED, CampaignStep.END): CampaignState.ENDED,
}
"""What is not here is refused. Only seats make a campaign exhausted or active again, and nothing comes after the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign as it stands.

    Attributes:
        created_at: By the primary's clock, aware, UTC; likewise `ended_at`.
        ended_at: None: it has not ended.
        issued: Seats with a coupon, or with one that was voided and keeps its seat.
        held: Seats that wait for a first login.
    """

    campaign_id: UUID
    terms: Terms
    state: CampaignState
    created_at: datetime
    ended_at: datetime | None
    issued: int
    held: int

    @property
    def free(self) -> int:
        """Seats that nobody has."""
        return self.terms.cap - self.issued - self.held


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCounts:
    """How far a campaign is, counted from the rows.

    Attributes:
        registered: Who takes part; users who were deleted are not counted.
        logged_in: Of those, whose first login has been noted. Once every seat is taken for good, none is noted any more.
        granted: Coupons that are good, or were redeemed, or have expired.
        reserved: Of those, who waits for a payment at this moment.
        redeemed: Of those, who were used.
        voided: Coupons that were taken back; of `returned` ones the seat went on.
        lapsed: Seats that were held in vain.
    """

    registered: int
    logged_in: int
    granted: int
    reserved: int
    redeemed: int
    voided: int
    returned: int
    lapsed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Whose seat it is, and what became of it.

    Attributes:
        couponid: None: it was held only.
        is_redeemed: The coupon has been used.
    """

    user_id: UUID
    state: GrantState
    couponid: UUID | None
    is_redeemed: bool


def state_after(state: CampaignState, step: CampaignStep, *, is_full: bool) -> CampaignState:
    """Return where *step* leads from *state*.

    Args:
        state: Where the campaign is.
        step: What the operator lets it do.
        is_full: Every seat has become a coupon: it goes on as exhausted, not as active.

    Raises:
        CampaignStepRefused: Nowhere.
    """
    after = NEXT.get((state, step))
    if after is None:
        raise CampaignStepRefused(state=state.value, step=step.value)
    return CampaignState.EXHAUSTED if is_full and after is CampaignState.ACTIVE else after


def state_when_voided(grant: Grant, *, passes_on: bool) -> GrantState:
    """Return what becomes of *grant* when its coupon is taken back.

    Not of one that has been used: its discount has been given, and to give the seat to the next would be N + 1.

    Args:
        grant: As it stands.
        passes_on: Whether the seat goes to the next.

    Raises:
        CouponNotVoidable: There is nothing to take back, or it is too late.
    """
    if grant.state is not GrantState.GRANTED:
        raise CouponNotVoidable(because=grant.state.value)
    if grant.is_redeemed:
        raise CouponNotVoidable(because="redeemed")
    return GrantState.RETURNED if passes_on else GrantState.VOIDED


def read_reason(typed: str, *, field: str = "reason", at_most: int = REASON_LENGTH_MAX) -> str:
    """Return *typed* without blanks around it: it stays with the grant and in the audit, so there must be one.

    Raises:
        InvalidRequest: Nothing, too long, or with characters that cannot be shown.
    """
    reason = typed.strip()
    if not reason:
        raise InvalidRequest(FieldFault(field, "missing"))
    if len(reason) > at_most:
        raise InvalidRequest(FieldFault(field, "too_long"))
    if not reason.isprintable():
        raise InvalidRequest(FieldFault(field, "invalid_characters"))
    return reason


def read_by(typed: str) -> str:
    """Return *typed*, who does it, as the audit is told. Raises as `read_reason`."""
    return read_reason(typed, field="by", at_most=BY_LENGTH_MAX)


def read_moment(typed: str, *, field: str) -> datetime:
    """Return the moment that *typed* names in ISO 8601, in UTC; one without an offset is UTC already.

    Raises:
        InvalidRequest: It is not one, or a date alone: nobody knows whether the day belongs to it.
    """
    try:
        moment = datetime.fromisoformat(typed)
        if "T" not in typed.upper() and " " not in typed:
            raise InvalidRequest(FieldFault(field, "no_time_of_day"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(FieldFault(field, "not_iso_8601")) from None


def read_percent(typed: str) -> Decimal:
    """Return the number that *typed* is; `Terms.check` says whether it makes a discount.

    Raises:
        InvalidRequest: It is none.
    """
    try:
        return Decimal(typed)
    except InvalidOperation:
        raise InvalidRequest(FieldFault("percent", "no_number")) from None
