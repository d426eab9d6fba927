"""The rule of the throttle: what fits, how long to wait, and who counts as one caller."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.throttling import (
    CounterKind,
    Limit,
    address_counters,
    address_group,
    device_counters,
    login_counters,
)

LIMITS = st.builds(Limit, at_most=st.integers(1, 1_000), window_s=st.integers(1, 86_400))
MOMENTS = st.floats(0, 4e9, allow_nan=False)
COUNTS = st.integers(0, 3_000)


def test_the_window_before_counts_for_what_of_it_is_still_covered() -> None:
    limit = Limit(at_most=10, window_s=100)
    assert limit.counted(current=3, previous=8, now_s=1_000.0) == 11
    assert limit.counted(current=3, previous=8, now_s=1_025.0) == 9
    assert limit.counted(current=3, previous=8, now_s=1_099.0) == pytest.approx(3.08)
    assert limit.window_of(1_099.9) + 1 == limit.window_of(1_100.0)


@pytest.mark.parametrize(
    ("current", "previous", "now_s", "wait_s"),
    [
        (9, 0, 1_000, 0),  # the tenth fits
        (10, 0, 1_000, 110),  # the next does when the window before holds 10 of which 90 % are covered
        (10, 0, 1_099, 11),
        (0, 10, 1_000, 10),
        (4, 10, 1_000, 50),
        (4, 10, 1_050, 0),
        (20, 0, 1_000, 155),
    ],
)
def test_the_wait_is_until_one_more_fits(current: int, previous: int, now_s: float, wait_s: float) -> None:
    limit = Limit(at_most=10, window_s=100)
    assert limit.wait_s(current=current, previous=previous, now_s=now_s) == pytest.approx(wait_s)


def test_a_limit_of_one_waits_until_nothing_is_covered_any_more() -> None:
    assert Limit(at_most=1, window_s=100).wait_s(current=1, previous=0, now_s=1_030) == pytest.approx(170)


def test_zero_is_no_limit() -> None:
    assert Limit(at_most=0, window_s=100).wait_s(current=10**9, previous=10**9, now_s=5) == 0


@given(LIMITS, COUNTS, COUNTS, MOMENTS)
def test_after_the_wait_one_more_fits_and_before_it_does_not(
    limit: Limit, current: int, previous: int, now_s: float
) -> None:
    """What Retry-After says is the truth."""
    wait_s = limit.wait_s(current=current, previous=previous, now_s=now_s)
    assert 0 <= wait_s <= 2 * limit.window_s
    hair_s = 1e-5 * limit.window_s + 1e-6 * wait_s + 1e-6

    def fits(after_s: float) -> bool:
        then_s = now_s + after_s
        passed = limit.window_of(then_s) - limit.window_of(now_s)
        now, before = {0: (current, previous), 1: (0, current)}.get(passed, (0, 0))
        return limit.counted(current=now, previous=before, now_s=then_s) <= limit.at_most - 1

    assert fits(wait_s + hair_s)
    if wait_s > hair_s:
        assert not fits(wait_s - hair_s)


@given(limit=LIMITS, gaps=st.lists(st.floats(0, 1), max_size=300))
def test_no_stretch_of_a_window_holds_more_than_twice_the_limit(limit: Limit, gaps: list[float]) -> None:
    """However the attempts are timed."""
    counted: dict[int, int] = {}
    admitted: list[float] = []
    now_s = 0.0
    for gap in gaps:
        now_s += gap * limit.window_s / 10
        window = limit.window_of(now_s)
        if limit.wait_s(current=counted.get(window, 0), previous=counted.get(window - 1, 0), now_s=now_s) == 0:
            counted[window] = counted.get(window, 0) + 1
            admitted.append(now_s)
    for start_s in admitted:
        assert sum(start_s <= moment < start_s + limit.window_s for moment in admitted) <= 2 * limit.at_most


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("192.0.2.7", "::ffff:c000:207"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2::1", "2001:0DB8:0001:0002:0000:0000:0000:0001"),
        ("fe80::1%eth0", "fe80::2"),
    ],
)
def test_these_addresses_count_as_one(one: str, other: str) -> None:
    assert address_group(one) == address_group(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.7", "192.0.2.8"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.8"),
        ("0.0.0.0", "::"),
    ],
)
def test_these_addresses_count_apart(one: str, other: str) -> None:
    assert address_group(one) != address_group(other)


def test_no_two_counters_share_a_key() -> None:
    """Else one thing's failures would throttle another."""
    one, other = b"\1" * 16, b"\2" * 16
    groups = [
        login_counters(one, "192.0.2.7"),
        login_counters(other, "192.0.2.8"),
        login_counters(one, "2001:db8::1")[1:],
        device_counters(UUID(bytes=one)),
        *(address_counters(kind, "192.0.2.7") for kind in CounterKind if kind != CounterKind.ADDRESS),
    ]
    keys = [counter.key for group in groups for counter in group]
    assert len(set(keys)) == len(keys)


def test_without_an_address_none_is_counted() -> None:
    """Else all who come by a Unix socket would be one caller."""
    assert [counter.kind for counter in login_counters(b"x", None)] == [CounterKind.USER]
    assert address_counters(CounterKind.ADDRESS, None) == ()
