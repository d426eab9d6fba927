"""POST /register, row by row, and what a registration leads to."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.client import JSON, PASSWORD, Client, Person, fresh_name, fresh_phone_number
from tests.support.contract import INVALID_REQUEST, SUCCESS, TOKENS, UNSUPPORTED, Row, table


@table(
    Row(
        name="a username and a password are enough",
        call="POST /register",
        json={"username": "new-$username", "password": "$password"},
        gives=SUCCESS,
    ),
    Row(
        name="an email and a password are enough",
        call="POST /register",
        json={"email": "new-$email", "password": "$password"},
        gives=SUCCESS,
    ),
    Row(
        name="an empty or null field counts as absent",
        call="POST /register",
        json={
            "username": "new-$username",
            "email": "",
            "phone_number": None,
            "password": "$password",
            "full_name": "",
            "birthdate": None,
        },
        gives=SUCCESS,
    ),
    Row(
        name="everything at once",
        call="POST /register",
        json={
            "username": "new-$username",
            "email": "new-$email",
            "password": "$password",
            "birthdate": "1990-02-28",
            "full_name": "Ada Lovelace",
        },
        gives=SUCCESS,
    ),
    Row(
        name="a campaign may be named",
        call="POST /register",
        json={"username": "new-$username", "password": "$password", "campaign": "summer"},
        gives=SUCCESS,
    ),
    Row(
        name="an unknown field is ignored, whatever it holds",
        call="POST /register",
        json={"username": "new-$username", "password": "$password", "is_admin": True, "userid": [{"a": None}]},
        gives=SUCCESS,
    ),
    Row(
        name="no identifier is 400",
        call="POST /register",
        json={"password": "$password"},
        gives=INVALID_REQUEST,
        reason="username=missing",
    ),
    Row(
        name="no password is 400",
        call="POST /register",
        json={"username": "new-$username"},
        gives=INVALID_REQUEST,
        reason="password=missing",
    ),
    Row(
        name="a username that somebody has is 400",
        call="POST /register",
        json={"username": "$username", "password": "$password"},
        gives=INVALID_REQUEST,
        reason="username=taken",
    ),
    Row(
        name="an email that somebody has is 400, whatever else is new",
        call="POST /register",
        json={"username": "new-$username", "email": "$email", "password": "$password"},
        gives=INVALID_REQUEST,
        reason="email=taken",
    ),
    Row(
        name="a phone number that somebody has is 400",
        call="POST /register",
        json={"phone_number": "$phone_number", "password": "$password"},
        gives=INVALID_REQUEST,
        reason="phone_number=taken",
    ),
    Row(
        name="one's own email is no password",
        call="POST /register",
        json={"email": "new-$email", "password": "NEW-$email"},
        gives=INVALID_REQUEST,
        reason="password=same_as_identifier",
    ),
    Row(
        name="a form is 415",
        call="POST /register",
        form={"username": "new-$username", "password": "$password"},
        gives=UNSUPPORTED,
    ),
    Row(
        name="no body at all is 415",
        call="POST /register",
        gives=UNSUPPORTED,
    ),
)
def test_a_registration_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)


@pytest.mark.parametrize(
    "media_type", [JSON, f"{JSON}; charset=utf-8", f"{JSON};charset=UTF-8", "Application/JSON", f'{JSON}; charset="utf-8"']
)
def test_json_is_known_however_its_type_is_written(media_type: str, client: Client) -> None:
    content = b'{"username": "%s", "password": "%s"}' % (fresh_name().encode(), PASSWORD.encode())
    row = Row(name="", call="POST /register", content=content, media_type=media_type, gives=SUCCESS)
    row.check(client)


def test_who_has_registered_can_log_in_by_every_name_they_gave(client: Client) -> None:
    given = {"username": fresh_name(), "email": f"{fresh_name()}@example.com", "phone_number": fresh_phone_number()}
    SUCCESS.check(client.send_json("/register", {**given, "password": PASSWORD}))
    for kind, name in given.items():
        TOKENS.check(client.form("/login", {kind: name, "password": PASSWORD}))


def test_what_was_given_is_what_the_profile_says(client: Client) -> None:
    """Identifiers in the one form in which they are stored; the name as it was typed."""
    serial, number = fresh_name("ada"), fresh_phone_number()
    typed = {
        "username": serial.upper(),
        "email": f"{serial.upper()}@Bücher.Example",
        "phone_number": f"{number[:3]} {number[3:]}",
        "birthdate": "1815-12-10".replace("1815", "1915"),
        "full_name": "  Ada  King, Countess of Lovelace ",
    }
    SUCCESS.check(client.send_json("/register", {**typed, "password": PASSWORD}))
    profile = client.get("/me", token=client.log_in(serial)["access_token"]).json
    assert {name: profile[name] for name in typed} == {
        "username": serial,
        "email": f"{serial}@xn--bcher-kva.example",
        "phone_number": number,
        "birthdate": "1915-12-10",
        "full_name": "  Ada  King, Countess of Lovelace ",
    }


def test_an_unknown_field_is_never_stored(client: Client) -> None:
    name = fresh_name()
    unknown: dict[str, Any] = {"last_login": "2001-01-01T00:00:00Z", "discount": [], "userid": "0" * 32, "is_admin": True}
    client.register(name, **unknown)
    profile = client.get("/me", token=client.log_in(name)["access_token"]).json
    assert profile["userid"].replace("-", "") != unknown["userid"]
    assert set(profile) == {
        "userid",
        "username",
        "email",
        "phone_number",
        "full_name",
        "birthdate",
        "last_login",
        "coupons",
    }
    assert profile["coupons"] == []


@pytest.mark.parametrize(
    ("birthdate", "reason"),
    [
        (lambda today: today.isoformat(), None),
        (lambda today: "1900-01-01", None),
        (lambda today: "2000-02-29", None),
        (lambda today: "1899-12-31", "birthdate=too_early"),
        (lambda today: f"{today.year + 1}-01-01", "birthdate=in_the_future"),
    ],
    ids=["today", "the first of 1900", "a leap day", "the last of 1899", "next year"],
)
def test_somebody_can_have_been_born_from_1900_until_today(birthdate, reason, client: Client) -> None:
    born = birthdate(datetime.now(UTC).date())
    reply = client.send_json("/register", {"username": fresh_name(), "password": PASSWORD, "birthdate": born})
    (INVALID_REQUEST if reason else SUCCESS).check(reply, reason=reason)


def test_every_fault_is_told_to_who_asks_and_the_first_to_everybody(client: Client, person: Person) -> None:
    members = {"username": "with space", "email": "no address", "password": "short", "birthdate": "2001-02-29"}
    INVALID_REQUEST.check(client.send_json("/register", members), reason="username=invalid")
    problem = client.send_json("/register", members, accept="application/problem+json").json
    assert problem["errors"] == [
        {"field": "username", "reason": "invalid"},
        {"field": "email", "reason": "invalid"},
        {"field": "birthdate", "reason": "not_a_date"},
        {"field": "password", "reason": "too_short"},
    ]
    assert problem["detail"] == "username: invalid, email: invalid, birthdate: not_a_date, password: too_short"


def test_every_taken_name_is_told(client: Client, person: Person) -> None:
    members = {"username": person.username, "email": person.email, "phone_number": person.phone_number}
    problem = client.send_json("/register", {**members, "password": PASSWORD}, accept="application/problem+json").json
    assert problem["errors"] == [{"field": name, "reason": "taken"} for name in members]


def test_a_refused_registration_leaves_its_names_free(client: Client, person: Person) -> None:
    name = fresh_name()
    members = {"username": name, "email": person.email, "password": PASSWORD}
    INVALID_REQUEST.check(client.send_json("/register", members), reason="email=taken")
    SUCCESS.check(client.send_json("/register", {"username": name, "password": PASSWORD}))
