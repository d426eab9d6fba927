"""How campaigns are printed, for a person and for a program."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tidegate.domain.campaign_steps import Campaign, CampaignCounts


def as_json(campaign: Campaign, counts: CampaignCounts | None = None) -> dict[str, Any]:
    """All that is known of *campaign*, by the names of the table; percent as text, for it is exact."""
    terms = campaign.terms
    return {
        "code": terms.code,
        "name": terms.name,
        "state": str(campaign.state),
        "opens_at": moment(terms.opens_at),
        "closes_at": moment(terms.closes_at),
        "percent": f"{terms.percent:.2f}",
        "coupon_days": terms.coupon_days,
        "rank_by": str(terms.rank_by),
        "seat_hours": terms.seat_hours,
        "passes_on": terms.passes_on,
        "campaign_id": str(campaign.campaign_id),
        "created_at": moment(campaign.created_at),
        "ended_at": None if campaign.ended_at is None else moment(campaign.ended_at),
        "cap": terms.cap,
        "issued": campaign.issued,
        "held": campaign.held,
        "free": campaign.free,
        **({} if counts is None else asdict(counts)),
    }


def moment(at: datetime) -> str:
    """*at* in UTC, to the second."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def print_campaign(campaign: Campaign, counts: CampaignCounts | None, *, is_json: bool) -> None:
    """One line for each thing that is known; or one JSON object."""
    known = as_json(campaign, counts)
    if is_json:
        print(json.dumps(known))
        return
    for name, value in known.items():
        if value is not None:
            print(f"{name}: {_word(value)}")


def print_table(campaigns: Sequence[Campaign], *, is_json: bool) -> None:
    """One line a campaign under a line of names; or one JSON array."""
    if is_json:
        print(json.dumps([as_json(campaign) for campaign in campaigns]))
    elif not campaigns:
        print("no campaigns; `tidegate campaigns create --help` tells how to make one", file=sys.stderr)
    else:
        columns = ("code", "state", "opens_at", "closes_at", "percent", "rank_by", "cap", "issued", "held", "free")
        known = (as_json(campaign) for campaign in campaigns)
        texts = [columns, *(tuple(_word(each[column]) for column in columns) for each in known)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        for line in texts:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
