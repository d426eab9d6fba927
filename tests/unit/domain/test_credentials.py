"""A password is used exactly as typed, after one normalisation, and within two bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.domain.credentials import PASSWORD_BYTES_MAX, choose_password, normalise_password
from tidegate.domain.errors import InvalidRequest

TYPED = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)


def reason(typed: str) -> str:
    """Why *typed* cannot be anybody's password."""
    with pytest.raises(InvalidRequest) as refused:
        normalise_password(typed, field="current_password")
    (fault,) = refused.value.faults
    assert fault.field == "current_password"
    return fault.reason


@pytest.mark.parametrize(
    "typed",
    [
        "correct horse",
        "  leading and trailing  ",
        "\ttabs\r\nand lines\n",
        "MiXeD",
        "🐎" * 64,
        "a" * 1024,
        "é" * 512,
        "ﬁ ligature and Ａ full width",
        "x",
    ],
)
def test_nothing_is_trimmed_cut_or_mapped(typed: str) -> None:
    """ASVS v5.0.0-6.2.8; full-width letters stay, for NFC is not NFKC."""
    assert normalise_password(typed) == typed


@pytest.mark.parametrize(
    ("typed", "composed"),
    [("Spa\u0308ter", "Sp\u00e4ter"), ("\u212bngstro\u0308m", "\u00c5ngstr\u00f6m"), ("ᄒ\u1161ᆫ", "한")],
)
def test_the_same_keys_on_two_systems_give_the_same_password(typed: str, composed: str) -> None:
    """RFC 8265 section 4.2.2: NFC."""
    assert normalise_password(typed) == normalise_password(composed) == composed


@given(TYPED)
def test_normalising_again_changes_nothing(typed: str) -> None:
    try:
        once = normalise_password(typed)
    except InvalidRequest:
        return
    assert normalise_password(once) == once


@pytest.mark.parametrize("typed", ["a" * 1025, "é" * 513, "🐎" * 257, "a" * 10_000_000])
def test_over_1024_bytes_is_too_long_and_never_cut(typed: str) -> None:
    assert reason(typed) == "too_long"


def test_the_bound_holds_for_what_the_normalisation_makes_of_it() -> None:
    """U+1D160 becomes three characters of four bytes each."""
    typed = "\U0001d160" * (PASSWORD_BYTES_MAX // 4)
    assert len(typed.encode()) == PASSWORD_BYTES_MAX
    assert reason(typed) == "too_long"


@pytest.mark.parametrize("typed", ["nul\0inside", "\0", "lone \ud800 surrogate", "\udfff"])
def test_what_no_keyboard_types_is_invalid(typed: str) -> None:
    assert reason(typed) == "invalid_characters"


@pytest.mark.parametrize(
    ("typed", "is_long_enough"),
    [("1234567", False), ("12345678", True), ("🐎" * 7, False), ("🐎" * 8, True), ("a\u0308" * 7, False), (" " * 8, True)],
)
def test_a_new_password_has_eight_code_points_once_normalised(typed: str, is_long_enough: bool) -> None:
    if is_long_enough:
        assert choose_password(typed) == typed
    else:
        with pytest.raises(InvalidRequest) as refused:
            choose_password(typed)
        assert [str(fault) for fault in refused.value.faults] == ["password=too_short"]


def test_what_is_refused_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose_password("canary\0")
    assert "canary" not in repr(refused.value)
    assert refused.value.__cause__ is None
