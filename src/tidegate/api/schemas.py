"""The bodies that are JSON, as types: what is encoded, and what the OpenAPI document says of it."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tidegate.domain.campaigns import CampaignState
from tidegate.domain.claims import TokenPair
from tidegate.domain.coupons import Coupon, CouponState, Reservation
from tidegate.domain.participation import CouponStatus, Participation, ShownCampaign, coupons_in
from tidegate.domain.sessions import SessionView
from tidegate.domain.users import Profile

encode = msgspec.json.encode


class Tokens(msgspec.Struct):
    """A token pair."""

    access_token: Annotated[str, Meta(description="JWT (RFC 9068, EdDSA); send it as Authorization: Bearer.")]
    refresh_token: Annotated[str, Meta(description="Opaque; works once, then its successor does.")]

    @classmethod
    def of(cls, pair: TokenPair) -> "Tokens":
        """The body for *pair*."""
        return cls(pair.access_token, pair.refresh_token)


class Outcome(msgspec.Struct):
    """Success without more to say, and every error."""

    code: Annotated[str, Meta(description="The HTTP status, as a string.", examples=["200"])]
    message: Annotated[str, Meta(examples=["success"])]


class FieldError(msgspec.Struct):
    """One field at fault."""

    field: str
    reason: Annotated[str, Meta(examples=["too_common"])]


class Problem(msgspec.Struct):
    """An error for who sends Accept: application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class CouponBody(msgspec.Struct):
    """One coupon of the caller."""

    code: Annotated[str, Meta(description="Hyphens, lower case, and O, I and L for 0, 1 and 1 are read as well.")]
    campaign: Annotated[str, Meta(description="The code of the campaign that granted it.")]
    discount: Annotated[Decimal, Meta(description="In per cent, with two decimals.", examples=["15.00"])]
    expiration_date: Annotated[date, Meta(description="Its last day, UTC.")] | None
    state: CouponState

    @classmethod
    def of(cls, coupon: Coupon) -> "CouponBody":
        """The body for *coupon*."""
        return cls(coupon.code, coupon.campaign, coupon.discount, coupon.expiration_date, coupon.state)


class ProfileBody(msgspec.Struct):
    """What a user sees of themselves."""

    userid: UUID
    username: str | None
    email: str | None
    phone_number: Annotated[str, Meta(description="E.164")] | None
    full_name: str | None
    birthdate: date | None
    last_login: Annotated[datetime, Meta(description="UTC; seconds late, for it is written after the answer.")] | None
    coupons: Annotated[list[CouponBody], Meta(description="As in /me/coupons, which tells of an expiry at once.")]

    @classmethod
    def of(cls, profile: Profile) -> "ProfileBody":
        """The body for *profile*."""
        return cls(
            userid=profile.user_id,
            username=profile.username,
            email=profile.email,
            phone_number=profile.phone_number,
            full_name=profile.full_name,
            birthdate=profile.birth_date,
            last_login=profile.last_login,
            coupons=[CouponBody.of(coupon) for coupon in profile.coupons] if profile.coupons else [],
        )


class SessionBody(msgspec.Struct):
    """One live session."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    device: Annotated[str, Meta(description="The User-Agent of its login.")] | None
    address: str | None
    current: Annotated[bool, Meta(description="Whether the caller's access token is of this session.")]

    @classmethod
    def of(cls, view: SessionView, *, current: UUID) -> "SessionBody":
        """The body for *view*, seen from the session *current*."""
        return cls(
            id=view.session_id,
            created_at=view.created_at,
            last_used_at=view.last_used_at,
            expires_at=view.expires_at,
            device=view.device,
            address=view.address,
            current=view.session_id == current,
        )


class SessionsBody(msgspec.Struct):
    """All live sessions of the caller, the latest used first."""

    sessions: list[SessionBody]


class Availability(msgspec.Struct):
    """Whether a username is free."""

    available: bool


class Introspection(msgspec.Struct, omit_defaults=True):
    """What RFC 7662 section 2.2 asks for; of a token that is not active only that."""

    active: bool
    token_type: str | None = None
    iss: str | None = None
    aud: str | None = None
    sub: str | None = None
    client_id: str | None = None
    sid: str | None = None
    jti: str | None = None
    exp: int | None = None
    iat: int | None = None


class Health(msgspec.Struct):
    """A healthy answer."""

    status: str


class Readiness(msgspec.Struct, omit_defaults=True):
    """A ready answer."""

    status: str
    full: Annotated[list[str], Meta(description="Lanes of the hash pool in which a newcomer would be told 503 now.")] = []


class CouponsBody(msgspec.Struct):
    """How far the caller has come on the way to a coupon, and the coupons they have."""

    status: CouponStatus
    campaign: Annotated[str, Meta(description="The code of the campaign that they registered through.")] | None
    held_until: Annotated[datetime, Meta(description="Until when a seat is held for their first login.")] | None
    coupons: list[CouponBody]

    @classmethod
    def of(cls, participations: Sequence[Participation]) -> "CouponsBody":
        """The body for somebody with *participations*."""
        if not participations:
            return cls(CouponStatus.NONE, None, None, [])
        first = participations[0]
        coupons = [CouponBody.of(coupon) for coupon in coupons_in(participations)]
        return cls(first.status, first.campaign, first.held_until, coupons)


class ReservationBody(msgspec.Struct):
    """A coupon kept for a payment."""

    reservation: Annotated[UUID, Meta(description="Confirms or releases it.")]
    reserved_until: datetime

    @classmethod
    def of(cls, reservation: Reservation) -> "ReservationBody":
        """The body for *reservation*."""
        return cls(reservation.reservation_id, reservation.until)


class CampaignBody(msgspec.Struct):
    """What anybody may see of a campaign."""

    code: str
    name: str
    opens_at: Annotated[datetime, Meta(description="From then on who registers through it takes part.")]
    closes_at: datetime
    percent: Annotated[Decimal, Meta(description="The discount, with two decimals.", examples=["15.00"])]
    state: Annotated[
        CampaignState,
        Meta(description="exhausted: sold out. ended: for good. Of a draft nothing is told."),
    ]
    seats_left: Annotated[int, Meta(description="About; some seconds old.")]

    @classmethod
    def of(cls, campaign: ShownCampaign) -> "CampaignBody":
        """The body for *campaign*."""
        return cls(
            campaign.code,
            campaign.name,
            campaign.opens_at,
            campaign.closes_at,
            campaign.percent,
            campaign.state,
            campaign.seats_left,
        )
