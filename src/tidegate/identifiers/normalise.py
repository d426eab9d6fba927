"""Gives every login identifier one spelling, whether it is registered or looked up.

The three kinds are disjoint sets of strings, so that no username can ever be somebody's email or phone number: every email
holds an `@` and no username or phone number does; every phone number begins with `+` and no username does. The database
checks the same of its columns.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import phonenumbers
from email_validator import ValidatedEmail, validate_email
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberFormat, ValidationResult
from precis_i18n import get_profile

from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.domain.users import IdentifierKind, LoginIdentifier

IDENTIFIER_CODE_POINTS_MAX: Final = 255
"""The width of the three columns. It is checked first, so that no library below sees anything long."""

_USERNAMES: Final = get_profile("UsernameCaseMapped")

_PLAIN_USERNAME: Final = re.compile(r"[a-z0-9._-]+", re.ASCII)
"""What UsernameCaseMapped leaves as it is, and most usernames are: 0.5 us instead of 10, on the way of every login."""

_PHONE_NUMBER_AS_TYPED: Final = re.compile(r"[+\uFF0B]?[\d \u00A0()./\u2010-\u2015-]+")
"""Digits of any script and what people put between them; phonenumbers would also take letters, `tel:` and extensions."""

_PLAIN_EMAIL: Final = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@([a-z0-9.-]{1,253})", re.ASCII)
"""Of which only the domain has to be looked into, and of many addresses there are few: 2 us instead of 70."""

_EMAIL_LENGTH_MAX: Final = 254
"""RFC 5321 section 4.5.3.1.3, erratum 1690; what the library holds emails to."""

_PLAIN_DOMAINS_MAX: Final = 4_096
"""How many are remembered, in each process: half a megabyte at most."""

_PLAIN_PHONE_NUMBER: Final = re.compile(r"\+[1-9][0-9]{4,14}", re.ASCII)
"""E.164 as it is stored. Of those that nothing is to be taken off only the length has to be right: 2 us instead of 70."""

_COUNTRY_CODE_DIGITS_MAX: Final = 3


def normalise(kind: IdentifierKind, typed: str, *, phone_region: str | None = None) -> LoginIdentifier:
    """Return *typed* as it is stored and looked up.

    Normalising the result again changes nothing: what would change again is refused.

    Args:
        kind: What it is meant to be.
        typed: As it came.
        phone_region: Where a phone number without a country code belongs (ISO 3166-1, such as `DE`); None: such a number
            is invalid.

    Raises:
        InvalidRequest: `too_long` (over `IDENTIFIER_CODE_POINTS_MAX`, before or after) or `invalid`.
    """
    _refuse_long(kind, typed)
    spell = _SPELLINGS[kind]
    try:
        value = spell(typed, phone_region)
        # A spelling that does not hold is none: RFC 8264 section 7 knows such strings, and `+49 00 32693` would lose its
        # zeros one by one.
        is_stable = value == typed or spell(value, phone_region) == value
    except Exception:  # Whatever a parser raises on hostile input, it is the input that is wrong.
        raise InvalidRequest(FieldFault(kind.value, "invalid")) from None
    if not is_stable:
        raise InvalidRequest(FieldFault(kind.value, "invalid"))
    _refuse_long(kind, value)
    return LoginIdentifier(kind, value)


def _refuse_long(kind: IdentifierKind, text: str) -> None:
    if len(text) > IDENTIFIER_CODE_POINTS_MAX:
        raise InvalidRequest(FieldFault(kind.value, "too_long"))


def _spell_username(typed: str, _phone_region: str | None) -> str:
    """RFC 8265 section 3.3, UsernameCaseMapped: no spaces or controls, width and case mapped, NFC, Bidi rule."""
    if _PLAIN_USERNAME.fullmatch(typed):
        return typed
    username: str = _USERNAMES.enforce(typed)
    if "@" in username or username.startswith("+"):
        raise ValueError("a username that could be an email or a phone number")
    return username


def _spell_email(typed: str, _phone_region: str | None) -> str:
    """Syntax only, as in RFC 5321 and RFC 6531 without quoted local parts and addresses in brackets.

    The reserved domains that the library knows, such as `localhost` and `.local`, are refused, for no mail comes there.

    The domain becomes ASCII (IDNA 2008). The local part is lower-cased although RFC 5321 leaves its case to the host: no
    host of note tells `Ada@` from `ada@`, and people do not know which they typed.
    """
    folded = typed.lower()
    plain = _PLAIN_EMAIL.fullmatch(folded) if typed.isascii() and len(typed) <= _EMAIL_LENGTH_MAX else None
    if plain is not None and _is_plain_domain(plain[1]):
        return folded
    email = _validated(typed)
    local_part = unicodedata.normalize("NFC", unicodedata.normalize("NFC", email.local_part).lower())
    return f"{local_part}@{email.ascii_domain}"


@lru_cache(_PLAIN_DOMAINS_MAX)
def _is_plain_domain(domain: str) -> bool:
    """Whether *domain*, in lower case, may stand behind any local part, and as it is. Those in Punycode are not plain."""
    try:
        return "--" not in domain and _validated(f"a@{domain}").ascii_domain == domain
    except ValueError:  # the library's errors are ValueErrors; what is wrong is found out anew
        return False


def _validated(typed: str) -> ValidatedEmail:
    """Read *typed* by the rules of `_spell_email`. Raises as the library does."""
    return validate_email(
        typed,
        check_deliverability=False,
        test_environment=True,  # of the reserved domains let `.test` pass (RFC 6761 section 6.2): rehearsals need some
        globally_deliverable=False,
        allow_smtputf8=True,
        allow_empty_local=False,
        allow_quoted_local=False,
        allow_domain_literal=False,
        allow_display_name=False,
    )


def _spell_phone_number(typed: str, phone_region: str | None) -> str:
    """E.164. The number must be possible, not assigned: numbering plans change faster than libraries."""
    if _PLAIN_PHONE_NUMBER.fullmatch(typed) and _is_plain_phone_number(typed[1:]):
        return typed
    if not _PHONE_NUMBER_AS_TYPED.fullmatch(typed):
        raise ValueError("not a phone number")
    number = phonenumbers.parse(typed, phone_region)
    # IS_POSSIBLE_LOCAL_ONLY lacks its area code: with a country code before it nobody can be called.
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        raise ValueError("not a possible phone number")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


class _NumberingPlan(NamedTuple):
    """What phonenumbers knows of a country code.

    Attributes:
        lengths: That a number may have without it.
        taken_off: How begins what more than the country code may have to be taken off from.
    """

    lengths: frozenset[int]
    taken_off: re.Pattern[str] | None


def _is_plain_phone_number(digits: str) -> bool:
    """Whether `phonenumbers` would leave these digits behind a plus as they are. False says nothing.

    With a plus before, it takes off the country code, then a national prefix if there is one, and asks whether the rest is
    of a possible length: nothing else.
    """
    for size in range(1, _COUNTRY_CODE_DIGITS_MAX + 1):
        plan = _numbering_plan(int(digits[:size]))
        if plan is not None:
            national = digits[size:]
            is_whole = plan.taken_off is None or not plan.taken_off.match(national)
            return is_whole and len(national) in plan.lengths
    return False


@lru_cache(10**_COUNTRY_CODE_DIGITS_MAX)
def _numbering_plan(country_code: int) -> _NumberingPlan | None:
    """None: there is no such country code."""
    regions = COUNTRY_CODE_TO_REGION_CODE.get(country_code)
    if regions is None:
        return None
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(country_code, regions[0])
    assert metadata is not None  # the library has a plan for each code that it knows
    general = metadata.general_desc
    assert general is not None  # as it relies on itself
    return _NumberingPlan(
        lengths=frozenset(general.possible_length) - frozenset(general.possible_length_local_only),
        taken_off=re.compile(metadata.national_prefix_for_parsing) if metadata.national_prefix_for_parsing else None,
    )


_SPELLINGS: Final[Mapping[IdentifierKind, Callable[[str, str | None], str]]] = {
    IdentifierKind.USERNAME: _spell_username,
    IdentifierKind.EMAIL: _spell_email,
    IdentifierKind.PHONE_NUMBER: _spell_phone_number,
}
