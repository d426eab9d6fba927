"""One spelling for every login identifier, stable, and of one kind only."""

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from precis_i18n import get_profile

from tidegate.domain.errors import InvalidRequest
from tidegate.domain.users import IdentifierKind, LoginIdentifier
from tidegate.identifiers import normalise as module
from tidegate.identifiers.normalise import _PLAIN_USERNAME, IDENTIFIER_CODE_POINTS_MAX, normalise

USERNAME, EMAIL, PHONE_NUMBER = IdentifierKind.USERNAME, IdentifierKind.EMAIL, IdentifierKind.PHONE_NUMBER

ANYTHING = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)
"""Every code point there is, lone surrogates and NUL with them."""

NEARLY_EMAILS = st.builds(
    "{}@{}".format, ANYTHING, st.one_of(ANYTHING, st.just("example.com"), st.text("abü.-1ßİ", max_size=70))
)
NEARLY_PHONE_NUMBERS = st.builds(
    "{}{}".format,
    st.sampled_from(["+", "+1", "+1555", "+49", "+44", "+39", "00", "\uff0b", ""]),
    st.text("0123456789 ()-./٤x", max_size=25),
)
REGIONS = st.sampled_from([None, "US", "DE", "GB", "IT", "AR", "MX", "IR", "XX", ""])


def reason(kind: IdentifierKind, typed: str, *, phone_region: str | None = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        normalise(kind, typed, phone_region=phone_region)
    (fault,) = caught.value.faults
    assert fault.field == kind.value
    return fault.reason


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("ada", "ada"),
        ("Ada.Lovelace-1815_x", "ada.lovelace-1815_x"),
        ("ÅNGSTRÖM", "ångström"),
        ("A\u030angstro\u0308m", "ångström"),
        ("ＡＤＡ", "ada"),
        ("ẞ", "ß"),
        ("ада", "ада"),
        ("二郎", "二郎"),
        ("שלום1", "שלום1"),
        ("15550000001", "15550000001"),
        ("a+b", "a+b"),
        ("a" * 255, "a" * 255),
    ],
)
def test_usernames_lose_case_width_and_spelling_in_unicode(typed: str, stored: str) -> None:
    assert normalise(USERNAME, typed) == LoginIdentifier(USERNAME, stored)


@given(st.from_regex(_PLAIN_USERNAME, fullmatch=True))
def test_a_username_that_is_not_looked_into_would_have_stayed_as_it_is(typed: str) -> None:
    assert get_profile("UsernameCaseMapped").enforce(typed) == typed


def test_every_character_of_such_a_username_would_have_stayed_as_it_is() -> None:
    plain = [chr(code) for code in range(0x11_0000) if _PLAIN_USERNAME.fullmatch(chr(code))]
    assert len(plain) == 26 + 10 + 3
    assert get_profile("UsernameCaseMapped").enforce("".join(plain)) == "".join(plain)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "ada lovelace",
        " ada",
        "ada\n",
        "a\0da",
        "\ud800",
        "\u202eada",
        "ﬁ",
        "①",
        "אada",
        "ada@example.com",
        "@",
        "a＠b",
        "+ada",
        "+15550000001",
        "＋ada",
        "\u0378",
    ],
)
def test_what_precis_disallows_or_looks_like_another_kind_is_no_username(typed: str) -> None:
    assert reason(USERNAME, typed) == "invalid"


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada.Lovelace+x@Example.COM", "ada.lovelace+x@example.com"),
        ("+15550000001@example.com", "+15550000001@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
        ("ada@ｅｘａｍｐｌｅ.com", "ada@example.com"),
        ("ÅDA@example.com", "åda@example.com"),
        ("a\u030ada@example.com", "åda@example.com"),
        ("用户@例子.example", "用户@xn--fsqu00a.example"),
        ("ada@intranet", "ada@intranet"),
        ("ada@example.test", "ada@example.test"),
    ],
)
def test_emails_lose_case_and_their_domain_becomes_ascii(typed: str, stored: str) -> None:
    assert normalise(EMAIL, typed) == LoginIdentifier(EMAIL, stored)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ada",
        "@",
        "ada@",
        "@example.com",
        "ada@@example.com",
        "ada@b@example.com",
        "ada@.com",
        ".ada@example.com",
        "ada@[127.0.0.1]",
        '"a da"@example.com',
        "Ada <ada@example.com>",
        "<ada@example.com>",
        " ada@example.com",
        "ada@example.com\n",
        "a\0da@example.com",
        "\ud800@example.com",
        "ada@exa\u202emple.com",
        "ada@-example.com",
        "ada＠example.com",
        "ada@" + "a" * 64 + ".com",
        "a" * 243 + "@example.com",
        "ada@example..com",
        "ada@xn--a",
        "ada@localhost",
        "ada@corp.local",
    ],
)
def test_what_nobody_could_be_written_to_at_is_no_email(typed: str) -> None:
    assert reason(EMAIL, typed) == "invalid"


@pytest.mark.parametrize(
    ("typed", "phone_region", "stored"),
    [
        ("+15550000001", None, "+15550000001"),
        ("+1 (555) 000-0001", None, "+15550000001"),
        ("+1.555.000.0001", None, "+15550000001"),
        ("＋１５５５０００００01", None, "+15550000001"),
        ("+٤٤٢٠٧٩٤٦٠٩٥٨", None, "+442079460958"),
        ("+44 (0)20 7946 0958", None, "+442079460958"),
        ("+39 06 6982", None, "+39066982"),
        ("030 123456", "DE", "+4930123456"),
        ("(555) 000-0001", "US", "+15550000001"),
        ("+15550000001", "DE", "+15550000001"),
    ],
)
def test_phone_numbers_become_e164(typed: str, phone_region: str | None, stored: str) -> None:
    assert normalise(PHONE_NUMBER, typed, phone_region=phone_region) == LoginIdentifier(PHONE_NUMBER, stored)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "+",
        "++15550000001",
        "15550000001",
        "0015550000001",
        "+1555",
        "+1 000 0001",
        "+155500000012345",
        "+999123456",
        "+1-800-FLOWERS",
        "tel:+15550000001",
        "+15550000001;ext=5",
        "+15550000001 ext 5",
        "+15550000001x5",
        "+15550000001#5",
        "+15550000001\n",
        "+1555000\00001",
        "+1555000\ud8000001",
        "foo+15550000001",
        "ada@example.com",
        "+1555+0000001",
    ],
)
def test_what_nobody_could_be_called_at_is_no_phone_number(typed: str) -> None:
    assert reason(PHONE_NUMBER, typed) == "invalid"


def test_a_phone_number_without_its_country_needs_a_region() -> None:
    assert reason(PHONE_NUMBER, "030 123456") == "invalid"
    assert reason(PHONE_NUMBER, "030 123456", phone_region="XX") == "invalid"


@pytest.mark.parametrize(
    ("typed", "phone_region"),
    [("+490032693", None), ("+4400564707560", None), ("+86004783825594", None), ("0000457", "DE")],
)
def test_a_number_that_would_lose_another_zero_each_time_is_refused(typed: str, phone_region: str | None) -> None:
    """Found by chance: the library takes one national prefix off at a time, so what is stored could not be found again."""
    assert reason(PHONE_NUMBER, typed, phone_region=phone_region) == "invalid"


@pytest.mark.parametrize("number", range(15_550_000_000, 15_550_100_000, 9_973))
def test_the_numbers_of_load_tests_pass(number: int) -> None:
    assert normalise(PHONE_NUMBER, f"+{number}").value == f"+{number}"


@pytest.mark.parametrize("kind", IdentifierKind)
@pytest.mark.parametrize("letter", ["a", "1", "+", "@", "é", "\ud800", "ß", "ﷺ"])
def test_256_code_points_are_too_long_whatever_they_are(kind: IdentifierKind, letter: str) -> None:
    assert reason(kind, letter * (IDENTIFIER_CODE_POINTS_MAX + 1)) == "too_long"


def test_what_grows_beyond_the_column_is_too_long() -> None:
    """A capital dotted I becomes two code points."""
    assert reason(USERNAME, "İ" * 255) == "too_long"
    assert normalise(USERNAME, "İ" * 127).value == "i\u0307" * 127


def check(kind: IdentifierKind, typed: str, phone_region: str | None) -> str | None:
    """Normalise *typed*; what comes out must be stable, storable and recognisable as of its kind."""
    try:
        value = normalise(kind, typed, phone_region=phone_region).value
    except InvalidRequest as refused:
        reasons = {fault.reason for fault in refused.faults}
        value = None
    else:
        reasons = set()
    assert reasons <= {"invalid", "too_long"}
    if value is None:
        return None
    assert normalise(kind, value).value == value
    assert 0 < len(value) <= IDENTIFIER_CODE_POINTS_MAX
    assert "\0" not in value
    value.encode()
    assert ("@" in value) == (kind is EMAIL)
    assert value.startswith("+") if kind is PHONE_NUMBER else kind is EMAIL or not value.startswith("+")
    return value


@given(typed=ANYTHING, phone_region=REGIONS)
@example(typed="ᾼ", phone_region=None)
@example(typed="ΑΣ", phone_region=None)
def test_whatever_is_typed_is_refused_or_has_one_stable_spelling(typed: str, phone_region: str | None) -> None:
    for kind in IdentifierKind:
        check(kind, typed, phone_region)


@given(typed=NEARLY_EMAILS)
def test_whatever_nearly_is_an_email_likewise(typed: str) -> None:
    check(EMAIL, typed, None)


@given(typed=NEARLY_PHONE_NUMBERS, phone_region=REGIONS)
def test_whatever_nearly_is_a_phone_number_likewise(typed: str, phone_region: str | None) -> None:
    check(PHONE_NUMBER, typed, phone_region)


@pytest.mark.full
def test_every_single_code_point_likewise() -> None:
    """Alone and after a letter, where PRECIS and IDNA have rules for each (some 70,000 of them pass)."""
    for code_point in range(0x30000):
        for typed in (chr(code_point), "a" + chr(code_point)):
            check(USERNAME, typed, None)


@given(typed=st.one_of(ANYTHING, NEARLY_EMAILS, NEARLY_PHONE_NUMBERS), phone_region=REGIONS)
def test_no_text_is_of_two_kinds_once_normalised(typed: str, phone_region: str | None) -> None:
    """Else one user's username could be another's email, and a login could find the wrong one."""
    values = [check(kind, typed, phone_region) for kind in IdentifierKind]
    found = [value for value in values if value is not None]
    assert len(found) == len(set(found))


LABELS = st.text("abcxyz019-", min_size=1, max_size=64)
PLAIN_EMAILS = st.builds(
    "{}@{}".format,
    st.text("abcXYZ019_+-.'", max_size=70),
    st.one_of(
        st.builds(".".join, st.lists(LABELS, min_size=1, max_size=5)),
        st.builds(
            "{}.{}".format,
            LABELS,
            st.sampled_from(["com", "COM", "test", "local", "localhost", "arpa", "onion", "invalid"]),
        ),
        st.builds("xn--{}.{}".format, LABELS, LABELS),
        st.sampled_from(
            ["example.com", "Example.COM", "localhost", "test", "a.b-c.d", "ab--cd.example", "xn--bcher-kva.example"]
        ),
    ),
)
"""Those that the short way takes, and those right beside them."""

PLAIN_PHONE_NUMBERS = st.builds(
    "+{}{}{}".format,
    st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    st.sampled_from(["", "0", "00", "1", "8", "15", "9", "06", "44", "1500"]),
    st.text("0123456789", max_size=13),
)


def the_long_way(monkeypatch: pytest.MonkeyPatch, kind: IdentifierKind, typed: str, phone_region: str | None) -> str | None:
    """What `normalise` says without the ways that spare it the libraries."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "_is_plain_domain", lambda domain: False)
        patch.setattr(module, "_is_plain_phone_number", lambda digits: False)
        return check(kind, typed, phone_region)


@settings(deadline=None, max_examples=400)
@given(typed=PLAIN_EMAILS)
@example(typed="a@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 63 + "." + "e" * 60)
@example(typed="a" * 240 + "@example.com")
@example(typed="a" * 242 + "@example.com")
@example(typed="a" * 243 + "@example.com")
@example(typed="Info@example.com")
def test_an_email_whose_domain_is_known_is_spelt_as_the_library_would(typed: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert check(EMAIL, typed, None) == the_long_way(monkeypatch, EMAIL, typed, None)


@settings(deadline=None, max_examples=1000)
@given(typed=PLAIN_PHONE_NUMBERS, phone_region=REGIONS)
def test_a_phone_number_that_is_not_looked_into_is_spelt_as_the_library_would(typed: str, phone_region: str | None) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert check(PHONE_NUMBER, typed, phone_region) == the_long_way(monkeypatch, PHONE_NUMBER, typed, phone_region)


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_numbers_of_each_country_are_spelt_as_the_library_would(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its examples of each kind, with what people there dial before them."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    assert metadata is not None
    prefix = metadata.national_prefix or ""
    for kind in (0, 1, 3, 4, 5, 6, 7):  # of phonenumbers.PhoneNumberType
        found = phonenumbers.example_number_for_type(region, kind)
        if found is None:
            continue
        for between in ("", prefix, "0"):
            typed = f"+{found.country_code}{between}{phonenumbers.national_significant_number(found)}"
            assert check(PHONE_NUMBER, typed, None) == the_long_way(monkeypatch, PHONE_NUMBER, typed, None), typed


def test_most_numbers_and_addresses_go_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million of them are imported in half a minute because of it."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the library was asked")

    normalise(EMAIL, "ada@example.com")
    monkeypatch.setattr(module, "validate_email", refuse)
    monkeypatch.setattr(phonenumbers, "parse", refuse)
    assert normalise(EMAIL, "Grace.Hopper+x@Example.com").value == "grace.hopper+x@example.com"
    for typed in ("+15550000001", "+4915112345678", "+442079460958", "+819012345678", "+919876543210"):
        assert normalise(PHONE_NUMBER, typed).value == typed
