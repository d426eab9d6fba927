"""Codes say what was drawn, survive how people write, and tell when they were mistyped."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.coupon_codes import RANDOM_OCTETS, SYMBOLS, make_coupon_code, read_coupon_code

DRAWN = st.binary(min_size=RANDOM_OCTETS, max_size=RANDOM_OCTETS)


@given(DRAWN, DRAWN)
def test_two_draws_have_one_code_only_if_they_are_equal(one: bytes, other: bytes) -> None:
    assert (make_coupon_code(one) == make_coupon_code(other)) == (one == other)


@given(DRAWN, st.sampled_from(["O", "o", "0"]), st.sampled_from(["I", "i", "L", "l", "1"]))
def test_what_people_write_for_what_they_see_is_read_as_meant(drawn: bytes, zero: str, one: str) -> None:
    code = make_coupon_code(drawn)
    written = "-".join(code[start : start + 4] for start in range(0, 17, 4)).lower()
    assert read_coupon_code(written.replace("0", zero).replace("1", one)) == code


@given(DRAWN, st.integers(0, 15), st.sampled_from(SYMBOLS))
def test_a_wrong_symbol_is_found(drawn: bytes, place: int, symbol: str) -> None:
    code = make_coupon_code(drawn)
    wrong = code[:place] + symbol + code[place + 1 :]
    assert read_coupon_code(wrong) == (code if wrong == code else None)


@given(DRAWN, st.integers(0, 14))
def test_two_neighbours_that_changed_places_are_found(drawn: bytes, place: int) -> None:
    code = make_coupon_code(drawn)
    wrong = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    assert read_coupon_code(wrong) == (code if wrong == code else None)


NO_CODES = ["", "0", "0" * 16, "0" * 18, "0" * 16 + "U", "U" * 17, "é" * 17, "٠" * 17, "0" * 15 + "\x00" + "0"]


@pytest.mark.parametrize("typed", NO_CODES)
def test_what_is_no_code_is_read_as_none(typed: str) -> None:
    assert read_coupon_code(typed) is None


def test_a_number_worked_out_by_hand_has_its_code() -> None:
    # 32 is "10" and leaves 32 over 37, whose symbol is the first of those that only check.
    assert make_coupon_code((32).to_bytes(RANDOM_OCTETS)) == "0" * 14 + "10*"
    assert len(make_coupon_code(os.urandom(RANDOM_OCTETS))) == 17
