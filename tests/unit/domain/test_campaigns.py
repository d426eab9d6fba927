"""What makes no campaign is refused, every field at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tidegate.domain.campaigns import CAP_MAX, RankBy, Terms, read_campaign_code
from tidegate.domain.errors import InvalidRequest

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOUND = Terms(
    code="spring-26",
    name="Spring, 15 %",
    opens_at=NOON,
    closes_at=NOON + timedelta(hours=1),
    cap=100,
    percent=Decimal("12.5"),
    coupon_days=30,
    rank_by=RankBy.LOGIN,
    seat_hours=None,
    passes_on=True,
)


def test_sound_terms_stand() -> None:
    SOUND.check()
    replace(SOUND, rank_by=RankBy.REGISTRATION, seat_hours=24, cap=CAP_MAX, percent=Decimal(100)).check()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"code": "-spring"}, "code=invalid_characters"),
        ({"code": "spring sale"}, "code=invalid_characters"),
        ({"code": "s" * 65}, "code=too_long"),
        ({"name": " "}, "name=missing"),
        ({"name": "a\nb"}, "name=invalid_characters"),
        ({"name": "n" * 256}, "name=too_long"),
        ({"closes_at": NOON}, "closes_at=not_after_opens_at"),
        ({"cap": 0}, "cap=out_of_range"),
        ({"cap": CAP_MAX + 1}, "cap=out_of_range"),
        ({"percent": Decimal(0)}, "percent=out_of_range"),
        ({"percent": Decimal("100.01")}, "percent=out_of_range"),
        ({"percent": Decimal("NaN")}, "percent=out_of_range"),
        ({"percent": Decimal("1.005")}, "percent=too_many_decimals"),
        ({"coupon_days": 0}, "coupon_days=out_of_range"),
        ({"seat_hours": 5}, "seat_hours=only_by_registration"),
        ({"rank_by": RankBy.REGISTRATION}, "seat_hours=missing"),
        ({"rank_by": RankBy.REGISTRATION, "seat_hours": 0}, "seat_hours=out_of_range"),
    ],
)
def test_each_field_at_fault_is_told(change: dict[str, object], fault: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        replace(SOUND, **change).check()  # type: ignore[arg-type] # each is of its field's type
    assert [str(each) for each in refused.value.faults] == [fault]


def test_all_faults_are_told_together() -> None:
    with pytest.raises(InvalidRequest) as refused:
        replace(SOUND, code="", cap=-1, percent=Decimal(200)).check()
    assert [each.field for each in refused.value.faults] == ["code", "cap", "percent"]


def test_a_code_that_was_typed_in_capitals_is_the_same() -> None:
    assert read_campaign_code("SPRING-26") == "spring-26"
    with pytest.raises(InvalidRequest):
        read_campaign_code("ſpring")  # its capital is an ASCII letter
