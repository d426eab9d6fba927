"""The bodies of the admin API, as types."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from tidegate.api.fields import text_member
from tidegate.domain.campaign_steps import Campaign, CampaignCounts, read_moment, read_percent
from tidegate.domain.campaigns import RankBy, Terms
from tidegate.domain.errors import FaultCollector, FieldFault, InvalidRequest
from tidegate.usecases.administer_campaigns import Voided


class CampaignBody(msgspec.Struct):
    """A campaign as it stands."""

    campaign_id: UUID
    code: str
    name: str
    state: str
    opens_at: datetime
    closes_at: datetime
    cap: int
    percent: str
    coupon_days: int
    rank_by: str
    seat_hours: int | None
    passes_on: bool
    created_at: datetime
    ended_at: datetime | None
    issued: int
    held: int
    free: int

    @classmethod
    def of(cls, campaign: Campaign) -> "CampaignBody":
        """The body for *campaign*."""
        terms = campaign.terms
        return cls(
            campaign_id=campaign.campaign_id,
            code=terms.code,
            name=terms.name,
            state=campaign.state,
            opens_at=terms.opens_at,
            closes_at=terms.closes_at,
            cap=terms.cap,
            percent=f"{terms.percent:.2f}",
            coupon_days=terms.coupon_days,
            rank_by=terms.rank_by,
            seat_hours=terms.seat_hours,
            passes_on=terms.passes_on,
            created_at=campaign.created_at,
            ended_at=campaign.ended_at,
            issued=campaign.issued,
            held=campaign.held,
            free=campaign.free,
        )


class CampaignsBody(msgspec.Struct):
    """Every campaign, the newest first."""

    campaigns: list[CampaignBody]


class ShownBody(msgspec.Struct):
    """A campaign and how far it is."""

    campaign: CampaignBody
    counts: dict[str, int]

    @classmethod
    def of(cls, campaign: Campaign, counts: CampaignCounts) -> "ShownBody":
        """The body for both."""
        return cls(CampaignBody.of(campaign), {name: getattr(counts, name) for name in CampaignCounts.__slots__})


class VoidedBody(msgspec.Struct):
    """A coupon that was taken back."""

    campaign: str
    userid: UUID
    couponid: UUID
    state: str

    @classmethod
    def of(cls, voided: Voided) -> "VoidedBody":
        """The body for *voided*."""
        return cls(voided.campaign, voided.user_id, voided.couponid, voided.state)


def read_terms(members: dict[str, Any]) -> Terms:
    """Return the terms that *members* name; whether they make a campaign is `Terms.check`'s to say.

    Raises:
        InvalidRequest: With every member that is missing or of another type.
    """
    faults = FaultCollector()
    opens_at = faults.collect(_moment, members, "opens_at")
    closes_at = faults.collect(_moment, members, "closes_at")
    code = faults.collect(_text, members, "code")
    name = faults.collect(_text, members, "name")
    cap = faults.collect(_number, members, "cap")
    coupon_days = faults.collect(_number, members, "coupon_days")
    seat_hours = None if members.get("seat_hours") is None else faults.collect(_number, members, "seat_hours")
    percent = None if members.get("percent") is None else faults.collect(read_percent, str(members["percent"]))
    if members.get("percent") is None:
        faults.add("percent", "missing")
    passes_on = members.get("passes_on", False)
    if not isinstance(passes_on, bool):
        faults.add("passes_on", "not_a_boolean")
    rank_by = members.get("rank_by", RankBy.LOGIN)
    if rank_by not in list(RankBy):
        faults.add("rank_by", "not_login_or_registration")
    faults.raise_if_any()
    if code is None or name is None or opens_at is None or closes_at is None:
        raise AssertionError("else there was a fault")
    if cap is None or coupon_days is None or percent is None:
        raise AssertionError("likewise")
    return Terms(
        code=code,
        name=name,
        opens_at=opens_at,
        closes_at=closes_at,
        cap=cap,
        percent=percent,
        coupon_days=coupon_days,
        rank_by=RankBy(rank_by),
        seat_hours=seat_hours,
        passes_on=passes_on,
    )


def _text(members: dict[str, Any], name: str) -> str:
    value = text_member(members, name)
    if value is None:
        raise InvalidRequest(FieldFault(name, "missing"))
    return value


def _moment(members: dict[str, Any], name: str) -> datetime:
    return read_moment(_text(members, name), field=name)


def _number(members: dict[str, Any], name: str) -> int:
    value = members.get(name)
    if value is None:
        raise InvalidRequest(FieldFault(name, "missing"))
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest(FieldFault(name, "not_a_whole_number"))
    return value
