"""A password is refused for what it is, never for how it is made up."""

import pytest

from tests.unit.usecases.world import ListedPasswords
from tidegate.domain.errors import InvalidRequest
from tidegate.domain.users import IdentifierKind, LoginIdentifier
from tidegate.usecases.password_rules import PasswordRules

RULES = PasswordRules(blocklist=ListedPasswords())
NAMES = [
    LoginIdentifier(IdentifierKind.USERNAME, "straße-in-rom"),
    LoginIdentifier(IdentifierKind.EMAIL, "ada@example.org"),
    LoginIdentifier(IdentifierKind.PHONE_NUMBER, "+4930123456"),
]


@pytest.mark.parametrize("password", ["aaaaaaab", "12345679", "        ", "ada@example.or", "ada@example.org!", "🐎" * 8])
def test_no_rule_asks_for_digits_capitals_or_signs(password: str) -> None:
    """NIST SP 800-63B section 5.1.1.2 and ASVS v5.0.0-6.2.5."""
    assert RULES.choose(password, NAMES) == password


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("1234567", "too_short"),
        ("🐎" * 7, "too_short"),
        ("passWORD123", "too_common"),
        ("STRASSE-IN-ROM", "same_as_identifier"),
        ("Ada@Example.ORG", "same_as_identifier"),
        ("+4930123456", "same_as_identifier"),
        ("a" * 1025, "too_long"),
        ("lone \ud800 surrogate", "invalid_characters"),
    ],
)
def test_what_may_not_be_chosen_is_told_by_one_word(password: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        RULES.choose(password, NAMES, field="new_password")
    assert [str(fault) for fault in refused.value.faults] == [f"new_password={reason}"]


def test_what_is_compared_with_the_list_is_the_normalised_password() -> None:
    """Else full-width or decomposed letters would pass by it."""

    class Listed:
        def holds(self, password: str) -> bool:
            return password == "passwört"

    with pytest.raises(InvalidRequest):
        PasswordRules(blocklist=Listed()).choose("passwo\u0308rt", [])
