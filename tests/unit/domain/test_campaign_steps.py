"""A campaign goes only where the table says, and a coupon is taken back only while that harms nobody."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from tidegate.domain.campaign_steps import (
    NEXT,
    CampaignStep,
    Grant,
    read_by,
    read_moment,
    read_percent,
    read_reason,
    state_after,
    state_when_voided,
)
from tidegate.domain.campaigns import CampaignState, GrantState
from tidegate.domain.errors import CampaignStepRefused, CouponNotVoidable, InvalidRequest

DRAFT, ACTIVE, PAUSED, ENDED, EXHAUSTED = (
    CampaignState.DRAFT,
    CampaignState.ACTIVE,
    CampaignState.PAUSED,
    CampaignState.ENDED,
    CampaignState.EXHAUSTED,
)


@pytest.mark.parametrize("state", CampaignState)
@pytest.mark.parametrize("step", CampaignStep)
def test_each_step_leads_where_it_says_or_is_refused(state: CampaignState, step: CampaignStep) -> None:
    leads = {
        CampaignStep.PAUSE: {ACTIVE: PAUSED, EXHAUSTED: PAUSED},
        CampaignStep.RESUME: {DRAFT: ACTIVE, PAUSED: ACTIVE},
        CampaignStep.END: {DRAFT: ENDED, ACTIVE: ENDED, PAUSED: ENDED, EXHAUSTED: ENDED},
    }
    expected = leads[step].get(state)
    if expected is None:
        with pytest.raises(CampaignStepRefused) as refused:
            state_after(state, step, is_full=False)
        assert (refused.value.state, refused.value.step) == (state, step)
    else:
        assert state_after(state, step, is_full=False) is expected


def test_one_that_is_full_resumes_as_exhausted_and_ends_as_any_other() -> None:
    assert state_after(PAUSED, CampaignStep.RESUME, is_full=True) is EXHAUSTED
    assert state_after(EXHAUSTED, CampaignStep.END, is_full=True) is ENDED
    assert state_after(EXHAUSTED, CampaignStep.PAUSE, is_full=True) is PAUSED


def test_nothing_comes_after_the_end_and_no_step_leads_back_to_a_draft() -> None:
    assert all(state is not ENDED for state, _ in NEXT)
    assert DRAFT not in NEXT.values()


@pytest.mark.parametrize("state", GrantState)
@pytest.mark.parametrize("is_redeemed", [False, True])
@pytest.mark.parametrize("passes_on", [False, True])
def test_only_a_good_coupon_that_was_not_used_is_taken_back(state: GrantState, is_redeemed: bool, passes_on: bool) -> None:
    grant = Grant(user_id=UUID(int=1), state=state, couponid=UUID(int=2), is_redeemed=is_redeemed)
    if state is GrantState.GRANTED and not is_redeemed:
        expected = GrantState.RETURNED if passes_on else GrantState.VOIDED
        assert state_when_voided(grant, passes_on=passes_on) is expected
    else:
        with pytest.raises(CouponNotVoidable) as refused:
            state_when_voided(grant, passes_on=passes_on)
        assert refused.value.because == ("redeemed" if state is GrantState.GRANTED else state)


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2026-12-01T10:00Z", datetime(2026, 12, 1, 10, tzinfo=UTC)),
        ("2026-12-01T10:00:30", datetime(2026, 12, 1, 10, 0, 30, tzinfo=UTC)),
        ("2026-12-01 10:00", datetime(2026, 12, 1, 10, tzinfo=UTC)),
        ("2026-12-01T10:00+02:00", datetime(2026, 12, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_in_utc(typed: str, moment: datetime) -> None:
    read = read_moment(typed, field="opens_at")
    assert read == moment
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("tomorrow", "opens_at=not_iso_8601"),
        ("2026-12-01T25:00", "opens_at=not_iso_8601"),
        ("0001-01-01T00:00+02:00", "opens_at=not_iso_8601"),
        ("2026-12-01", "opens_at=no_time_of_day"),
    ],
)
def test_what_is_no_moment_is_refused(typed: str, fault: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_moment(typed, field="opens_at")
    assert [str(each) for each in refused.value.faults] == [fault]


def test_a_percent_is_read_exactly() -> None:
    assert read_percent("12.50") == Decimal("12.5")
    with pytest.raises(InvalidRequest, match="no_number"):
        read_percent("12,5")


@pytest.mark.parametrize(
    ("typed", "fault"),
    [(" \n", "reason=missing"), ("r" * 256, "reason=too_long"), ("a\nb", "reason=invalid_characters")],
)
def test_a_reason_is_given_and_can_be_shown(typed: str, fault: str) -> None:
    assert read_reason(f" {'r' * 255} ") == "r" * 255
    with pytest.raises(InvalidRequest) as refused:
        read_reason(typed)
    assert [str(each) for each in refused.value.faults] == [fault]


def test_who_does_it_is_told_shortly() -> None:
    assert read_by("cli:root") == "cli:root"
    with pytest.raises(InvalidRequest, match="by=too_long"):
        read_by("b" * 65)
