"""Nobody can choose one of the 3,000 most common passwords."""

from pathlib import Path

import pytest

from tidegate.domain.credentials import PASSWORD_CODE_POINTS_MIN, choose_password
from tidegate.domain.errors import InvalidRequest
from tidegate.passwords.blocklist import CommonPasswords


@pytest.fixture(scope="module")
def blocklist() -> CommonPasswords:
    return CommonPasswords.load()


def most_common() -> list[str]:
    text = (Path(__file__).parents[2] / "data" / "common_passwords_3000.txt").read_text(encoding="utf-8")
    return text.partition("\n\n")[2].splitlines()


def test_the_3000_most_common_passwords_are_refused_by_length_or_by_the_blocklist(blocklist: CommonPasswords) -> None:
    passwords = most_common()
    assert len(passwords) == 3000
    chosen = []
    for password in passwords:
        try:
            normalised = choose_password(password)
        except InvalidRequest:
            assert len(password) < PASSWORD_CODE_POINTS_MIN
            continue
        if not blocklist.holds(normalised):
            chosen.append(password)
    assert chosen == []


@pytest.mark.parametrize("password", ["iloveyou", "ILoveYou", "IloveYOU", "1q2w3e4r5t"])
def test_case_does_not_make_a_common_password_uncommon(blocklist: CommonPasswords, password: str) -> None:
    assert blocklist.holds(password)


@pytest.mark.parametrize("password", ["correct horse battery staple", "", " iloveyou", "# Source: Django", "iloveyou\n"])
def test_other_passwords_may_be_chosen(blocklist: CommonPasswords, password: str) -> None:
    assert not blocklist.holds(password)


def test_the_packaged_list_is_whole_and_starts_after_its_licence() -> None:
    packaged = CommonPasswords.load()
    assert len(packaged._common) == 8354
    assert min(map(len, packaged._common)) == PASSWORD_CODE_POINTS_MIN
    assert not any("BSD-3-Clause" in password or "copyright" in password for password in packaged._common)
