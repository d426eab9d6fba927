"""What a user is told of the way to a coupon follows from the rows, whichever they are."""

import itertools

import pytest

from tidegate.domain.campaigns import CampaignState, GrantState
from tidegate.domain.participation import CouponStatus, Participation


def status(
    grant: GrantState | None,
    state: CampaignState = CampaignState.ACTIVE,
    *,
    is_sold_out: bool = False,
    is_served: bool = False,
) -> CouponStatus:
    return Participation(
        campaign="spring",
        campaign_state=state,
        is_sold_out=is_sold_out,
        is_served=is_served,
        grant=grant,
        held_until=None,
        coupon=None,
    ).status


@pytest.mark.parametrize(
    ("grant", "told"),
    [
        (GrantState.GRANTED, CouponStatus.GRANTED),
        (GrantState.VOIDED, CouponStatus.VOIDED),
        (GrantState.RETURNED, CouponStatus.VOIDED),
        (GrantState.LAPSED, CouponStatus.LAPSED),
    ],
)
def test_what_became_of_a_seat_stands_whatever_becomes_of_the_campaign(grant: GrantState, told: CouponStatus) -> None:
    for state, is_sold_out, is_served in itertools.product(CampaignState, (False, True), (False, True)):
        assert status(grant, state, is_sold_out=is_sold_out, is_served=is_served) is told


def test_a_seat_that_is_held_is_not_sold_out() -> None:
    assert status(GrantState.HELD, is_sold_out=True) is CouponStatus.PENDING


def test_nothing_is_to_be_had_where_all_is_gone_or_over() -> None:
    assert status(None, CampaignState.EXHAUSTED, is_sold_out=True) is CouponStatus.SOLD_OUT
    assert status(None, CampaignState.ENDED, is_sold_out=True, is_served=True) is CouponStatus.SOLD_OUT
    assert status(None, CampaignState.ENDED) is CouponStatus.ENDED
    assert status(GrantState.HELD, CampaignState.ENDED) is CouponStatus.ENDED


def test_there_is_hope_until_then() -> None:
    for state in (CampaignState.ACTIVE, CampaignState.PAUSED):
        assert status(None, state) is CouponStatus.PENDING
    assert status(None, CampaignState.ENDED, is_served=True) is CouponStatus.PENDING
