"""Campaigns: who may have a coupon, in which order, and what becomes of it (DESIGN 5.8, ADR 0027)."""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from tidegate.domain.errors import FaultCollector, FieldFault, InvalidRequest
from tidegate.domain.users import FULL_NAME_LENGTH_MAX

CODE_CHARACTERS_MAX: Final = 64
CAP_MAX: Final = 10_000_000
COUPON_DAYS_MAX: Final = 3_660
SEAT_HOURS_MAX: Final = 8_784
"""As the table says: ten years, one year."""

_CODE = re.compile(r"[a-z0-9][a-z0-9-]*")


class CampaignState(StrEnum):
    """Where a campaign is in its life; the values are those in the table.

    A draft admits and grants nothing; paused likewise, but who logs in keeps the place. Exhausted: every seat became a
    coupon; it admits on, for a seat may come back. Ended is for good: who had logged in before still gets the coupon.
    """

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    EXHAUSTED = "exhausted"


class RankBy(StrEnum):
    """Who comes first; the values are those in the table."""

    LOGIN = "login"
    """In the order of first logins."""
    REGISTRATION = "registration"
    """In the order of registrations: a seat is held for some hours, until the first login."""


class GrantState(StrEnum):
    """What became of a seat; the values are those in the table. Held, granted and voided ones are taken."""

    HELD = "held"
    LAPSED = "lapsed"
    GRANTED = "granted"
    VOIDED = "voided"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an operator decides of a campaign when it is made.

    Attributes:
        code: What links carry; see `read_campaign_code`.
        opens_at: From then on who registers through it takes part; aware.
        closes_at: Until then; aware, later.
        cap: How many coupons, from 1 to `CAP_MAX`.
        percent: The discount, over 0 and up to 100, with two decimals at most.
        coupon_days: A coupon is good until the end of the so-manieth day after its grant, UTC.
        seat_hours: For how long a seat is held; None: nobody's is, they rank by login.
        passes_on: Whether the seat of a voided coupon goes to the next.
    """

    code: str
    name: str
    opens_at: datetime
    closes_at: datetime
    cap: int
    percent: Decimal
    coupon_days: int
    rank_by: RankBy
    seat_hours: int | None
    passes_on: bool

    def check(self) -> None:
        """Refuse what makes no campaign, whoever typed it and wherever.

        Raises:
            InvalidRequest: With every field at fault.
        """
        faults = FaultCollector()
        faults.collect(read_campaign_code, self.code, field="code")
        if not self.name.strip():
            faults.add("name", "missing")
        elif len(self.name) > FULL_NAME_LENGTH_MAX:
            faults.add("name", "too_long")
        elif not self.name.isprintable():
            faults.add("name", "invalid_characters")
        if self.opens_at >= self.closes_at:
            faults.add("closes_at", "not_after_opens_at")
        for field, value, most in (
            ("cap", self.cap, CAP_MAX),
            ("coupon_days", self.coupon_days, COUPON_DAYS_MAX),
            ("seat_hours", self.seat_hours, SEAT_HOURS_MAX),
        ):
            if value is not None and not 1 <= value <= most:
                faults.add(field, "out_of_range")
        if not self.percent.is_finite() or not 0 < self.percent <= 100:
            faults.add("percent", "out_of_range")
        elif self.percent != round(self.percent, 2):
            faults.add("percent", "too_many_decimals")
        if self.rank_by is RankBy.REGISTRATION and self.seat_hours is None:
            faults.add("seat_hours", "missing")
        if self.rank_by is RankBy.LOGIN and self.seat_hours is not None:
            faults.add("seat_hours", "only_by_registration")
        faults.raise_if_any()


@dataclass(frozen=True, slots=True)
class OpenCampaign:
    """A campaign that may have somebody to serve."""

    campaign_id: UUID
    rank_by: RankBy


@dataclass(frozen=True, slots=True)
class Known:
    """Up to where every place in the lines is known, whatever is still under way.

    Attributes:
        job_id: No first login with a job up to this can turn up any more.
        entrant_id: Nor a registration up to this.
        at: Nor a first login of before this, by the primary's clock, aware.
    """

    job_id: int
    entrant_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody's place in the line of a campaign.

    Attributes:
        rank: Of two the lower was first.
    """

    user_id: UUID
    rank: int


@dataclass(frozen=True, slots=True, repr=False)
class Win:
    """A place that is granted, with its coupon. It has no repr, for who knows the code may try it.

    Attributes:
        code: See `domain/coupon_codes.py`.
    """

    place: Place
    couponid: UUID
    code: str


def read_campaign_code(typed: str, *, field: str = "campaign") -> str:
    """Return *typed* in lower case, as links may have been typed by hand.

    Raises:
        InvalidRequest: Not 1 to `CODE_CHARACTERS_MAX` of a-z, 0-9 and hyphens, the first no hyphen.
    """
    code = typed.lower() if typed.isascii() else typed
    if len(code) > CODE_CHARACTERS_MAX:
        raise InvalidRequest(FieldFault(field, "too_long"))
    if not _CODE.fullmatch(code):
        raise InvalidRequest(FieldFault(field, "invalid_characters"))
    return code
