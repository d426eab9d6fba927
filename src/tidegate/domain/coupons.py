"""Coupons as their owners see them (DESIGN 5.8)."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class CouponState(StrEnum):
    """What may be done with a coupon at a moment; the first that holds, by the primary's clock."""

    VOIDED = "voided"
    """Taken back by an operator."""
    REDEEMED = "redeemed"
    """Used, for good."""
    RESERVED = "reserved"
    """Kept for a payment that is under way, until a moment; an expiry meanwhile does not take it from that payment."""
    EXPIRED = "expired"
    """Its last day, UTC, is over."""
    VALID = "valid"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Coupon:
    """A coupon. It has no repr, for who knows the code may try it.

    Attributes:
        code: See `domain/coupon_codes.py`.
        campaign: The code of the campaign that granted it.
        discount: In per cent, with two decimals.
        expiration_date: Its last day, UTC; None: it has none.
    """

    code: str
    campaign: str
    discount: Decimal
    expiration_date: date | None
    state: CouponState


@dataclass(frozen=True, slots=True)
class Reservation:
    """A coupon kept for a payment.

    Attributes:
        reservation_id: Confirms or releases it.
        until: From then on others may have the coupon; aware.
    """

    reservation_id: UUID
    until: datetime
