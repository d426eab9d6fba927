"""Who is imported keeps the rules of those who register, and brings a hash that a login verifies."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.imports import CHEAP_HASH
from tests.unit.identifiers.test_normalise import ANYTHING, NEARLY_EMAILS, NEARLY_PHONE_NUMBERS
from tidegate.domain.errors import FaultCollector, InvalidRequest
from tidegate.domain.user_imports import ImportedUser
from tidegate.domain.users import IdentifierKind, read_birth_date, read_full_name
from tidegate.identifiers.normalise import normalise
from tidegate.passwords.keycloak import from_keycloak
from tidegate.passwords.notations import STORED_LENGTH_MAX, why_refused
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.check_user import CheckUser

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)

check = CheckUser(
    normalise=partial(normalise, phone_region=None),
    why_refused=why_refused,
    respell=from_keycloak,
    stored_length_max=STORED_LENGTH_MAX,
    ids=RandomIds(),
    now=NOW,
)


def faults(**fields: str) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        check({"username": "ada", "password_hash": CHEAP_HASH} | fields)
    return [str(fault) for fault in caught.value.faults]


def checked(**fields: str) -> ImportedUser:
    return check({"username": "ada", "password_hash": CHEAP_HASH} | fields)


def faults_of(read: Callable[[], object]) -> set[str]:
    try:
        read()
    except InvalidRequest as invalid:
        return {str(fault) for fault in invalid.faults}
    return set()


@given(
    username=st.one_of(ANYTHING, st.sampled_from(["ada", "Ada"])),
    email=st.one_of(st.just(""), NEARLY_EMAILS),
    phone_number=st.one_of(st.just(""), NEARLY_PHONE_NUMBERS),
    full_name=st.one_of(ANYTHING, st.sampled_from(["Ada"])),
    birthdate=st.sampled_from(["", "1952-05-04", "2026-05-04", "2026-05-05", "1899-12-31", "x"]),
)
def test_fields_are_read_as_those_of_a_registration(
    username: str, email: str, phone_number: str, full_name: str, birthdate: str
) -> None:
    fields = {
        "username": username,
        "email": email,
        "phone_number": phone_number,
        "full_name": full_name,
        "birthdate": birthdate,
    }
    expected = FaultCollector()
    names = [
        expected.collect(normalise, kind, fields[kind.value]) if fields[kind.value] else None for kind in IdentifierKind
    ]
    if not username + email + phone_number:
        expected.add("username", "missing")
    name = expected.collect(read_full_name, full_name) if full_name else None
    born = expected.collect(partial(read_birth_date, today=NOW.date()), birthdate) if birthdate else None
    wanted = faults_of(expected.raise_if_any)
    assert faults_of(lambda: check(fields | {"password_hash": CHEAP_HASH})) == wanted
    if not wanted:
        user = check(fields | {"password_hash": CHEAP_HASH}).user
        values = [None if each is None else each.value for each in names]
        assert [user.username, user.email, user.phone_number, user.full_name, user.birth_date] == [*values, name, born]


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("", "missing"),
        ("!", "unknown_notation"),
        ("correct horse", "unknown_notation"),
        ("!!" + CHEAP_HASH, "unknown_notation"),
        (CHEAP_HASH + " ", "malformed"),
        ("pbkdf2_sha256$1000$a\0b$" + "A" * 43 + "=", "malformed"),
        ("pbkdf2_sha256$1000$\ud800$" + "A" * 43 + "=", "malformed"),
        ("pbkdf2_sha256$1000$" + "x" * 500 + "$" + "A" * 43 + "=", "too_long"),
        ("$2b$31$abcdefghijklmnopqrstuu2c1e4vZoCxDVRU9N6VCSSmNg4cQa1Ve", "unbearable_cost"),
    ],
)
def test_a_hash_that_no_login_would_verify_is_refused_with_its_reason(stored: str, reason: str) -> None:
    assert faults(password_hash=stored) == [f"password_hash={reason}"]


def test_the_mark_of_a_disabled_user_counts_for_the_column() -> None:
    assert checked(password_hash="!" + CHEAP_HASH).user.password_hash == "!" + CHEAP_HASH
    salt = "x" * 128
    longest = f"pbkdf2_sha256$1000${salt}$" + "A" * 171 + "="
    assert why_refused(longest) is None
    assert checked(password_hash=longest).user.password_hash == longest


def test_keycloaks_two_columns_stand_for_the_hash() -> None:
    data = '{"hashIterations":1000,"algorithm":"pbkdf2-sha256"}'
    secret = '{"value":"' + "A" * 43 + '=","salt":"c2FsdHNhbHQ="}'
    user = check({"username": "ada", "credential_data": data, "secret_data": secret}).user
    assert user.password_hash == "keycloak$pbkdf2-sha256$1000$c2FsdHNhbHQ=$" + "A" * 43 + "="
    for bad in ({"credential_data": data}, {"credential_data": data, "secret_data": "{}"}, {"secret_data": secret}):
        with pytest.raises(InvalidRequest, match="not_of_keycloak"):
            check({"username": "ada"} | bad)
    assert faults(credential_data=data, secret_data=secret) == ["password_hash=given_twice"]


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2024-05-04T10:00:00Z", datetime(2024, 5, 4, 10, tzinfo=UTC)),
        ("2024-05-04 10:00:00.5+02:00", datetime(2024, 5, 4, 8, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-05-04 10:00:00.123456+00", datetime(2024, 5, 4, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2024-05-04 10:00", datetime(2024, 5, 4, 10, tzinfo=UTC)),
        ("2026-05-04T12:00:00Z", NOW),
    ],
)
def test_a_last_login_is_a_moment_in_utc(typed: str, moment: datetime) -> None:
    assert checked(last_login=typed).last_login == moment


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("2026-05-04T12:00:01Z", "in_the_future"),
        ("2026-05-04T12:30:00-01:00", "in_the_future"),
        ("2024-02-30T10:00:00Z", "not_a_time"),
        ("2024-05-04", "not_a_time"),
        ("0001-01-01T00:00:00+05:00", "not_a_time"),
        ("1714816800", "not_a_time"),
    ],
)
def test_what_is_no_moment_or_yet_to_come_is_refused(typed: str, reason: str) -> None:
    assert faults(last_login=typed) == [f"last_login={reason}"]


def test_an_id_is_kept_and_else_drawn() -> None:
    given_id = "0190a6b0-0000-7000-8000-00000000000f"
    assert checked(userid=given_id.upper()).user.user_id == UUID(given_id)
    assert checked().user.user_id != checked().user.user_id
    for typed in ("1", given_id.replace("-", ""), "{" + given_id + "}", given_id[:-1] + "_"):
        assert faults(userid=typed) == ["userid=not_a_uuid"]


def test_what_is_not_known_is_told_unless_it_may_be_a_secret() -> None:
    assert faults(note="x") == ["note=unknown"]
    assert faults(password="x") == ["password=plain_password"]
    assert faults(**{CHEAP_HASH: "x"}) == ["?=unknown"]
