"""Birth dates are dates of the calendar, names follow no rules, and a mark says who is disabled."""

import unicodedata
from datetime import date
from uuid import UUID

import pytest

from tidegate.domain.errors import InvalidRequest
from tidegate.domain.users import BIRTH_DATE_MIN, StoredCredentials, read_birth_date, read_full_name

TODAY = date(2026, 2, 28)
SOMEBODY = UUID("3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b")


def reason(read: object) -> str:
    """The one word for what is wrong."""
    assert callable(read)
    with pytest.raises(InvalidRequest) as refused:
        read()
    (fault,) = refused.value.faults
    return str(fault)


@pytest.mark.parametrize(
    ("typed", "born"),
    [
        ("1990-05-17", date(1990, 5, 17)),
        ("2000-02-29", date(2000, 2, 29)),
        ("2024-02-29", date(2024, 2, 29)),
        ("1900-01-01", BIRTH_DATE_MIN),
        ("2026-02-28", TODAY),
    ],
)
def test_a_date_of_the_calendar_is_read(typed: str, born: date) -> None:
    assert read_birth_date(typed, today=TODAY) == born


@pytest.mark.parametrize("typed", ["1900-02-29", "2023-02-29", "2025-04-31", "2000-13-01", "2000-00-10", "2000-01-00"])
def test_a_day_that_never_was_is_no_date(typed: str) -> None:
    """1900 was no leap year."""
    assert reason(lambda: read_birth_date(typed, today=TODAY)) == "birthdate=not_a_date"


@pytest.mark.parametrize(
    "typed",
    [
        "17.05.1990",
        "05/17/1990",
        "1990-5-17",
        "19900517",
        "1990-W20-4",
        "1990-137",
        "1990-05-17T00:00:00",
        " 1990-05-17",
        "1990-05-17\n",
        "-1990-05-17",
        "١٩٩٠-٠٥-١٧",
        "1990-05",
        "x" * 5000,
    ],
)
def test_another_form_is_no_date(typed: str) -> None:
    """`date.fromisoformat` alone would take some of them."""
    assert reason(lambda: read_birth_date(typed, today=TODAY)) == "birthdate=not_a_date"


@pytest.mark.parametrize("typed", ["2026-03-01", "2027-01-01", "9999-12-31"])
def test_tomorrow_is_in_the_future(typed: str) -> None:
    assert reason(lambda: read_birth_date(typed, today=TODAY)) == "birthdate=in_the_future"


@pytest.mark.parametrize("typed", ["1899-12-31", "0199-01-01", "0001-01-01"])
def test_nobody_alive_was_born_before_1900(typed: str) -> None:
    assert reason(lambda: read_birth_date(typed, today=TODAY)) == "birthdate=too_early"


@pytest.mark.parametrize(
    "typed",
    ["Ada Lovelace", "X Æ A-12", "O'Neil", "  ", "Nguyễn Thị Minh Khai", "عبد الله", "🐎", "null", "a" * 255, "🐎" * 255],
)
def test_names_follow_no_rules(typed: str) -> None:
    assert read_full_name(typed) == typed


def test_a_name_is_composed() -> None:
    assert read_full_name("Jose\u0301") == "José"


def test_a_name_is_as_long_as_its_column_counts() -> None:
    assert reason(lambda: read_full_name("a" * 256)) == "full_name=too_long"
    assert reason(lambda: read_full_name("\U0001d160" * 86)) == "full_name=too_long"  # each becomes three in NFC


@pytest.mark.parametrize("typed", ["tab\t", "line\nbreak", "nul\0", "escape\x1b[31m", "next\x85line", "\ud800"])
def test_a_name_holds_no_controls_and_no_lone_surrogates(typed: str) -> None:
    assert reason(lambda: read_full_name(typed)) == "full_name=invalid_characters"


@pytest.mark.parametrize(
    ("stored", "is_disabled", "password_hash"), [("$hash", False, "$hash"), ("!$hash", True, "$hash"), ("!!x", True, "!x")]
)
def test_one_mark_before_the_hash_disables(stored: str, is_disabled: bool, password_hash: str) -> None:
    credentials = StoredCredentials(SOMEBODY, stored)
    assert (credentials.is_disabled, credentials.password_hash) == (is_disabled, password_hash)


def test_every_character_that_is_printable_may_stand_in_a_name() -> None:
    """So names of such are not looked at one by one."""
    printable = [chr(code) for code in range(0x11_0000) if chr(code).isprintable()]
    assert not {"Cc", "Cs"} & {unicodedata.category(character) for character in printable}
