"""POST /login, row by row: who gets a token pair, and what everybody else is told."""

import subprocess

import pytest

from tests.support.client import FORM, JSON, PASSWORD, Client, Person, fresh_name
from tests.support.contract import (
    INVALID_PASSWORD,
    INVALID_REQUEST,
    SUCCESS,
    TOKENS,
    UNSUPPORTED,
    USER_NOT_FOUND,
    Row,
    table,
)
from tests.support.nodes import Node, running_node


@table(
    Row(
        name="a username and its password give a token pair",
        call="POST /login",
        form={"username": "$username", "password": "$password"},
        gives=TOKENS,
    ),
    Row(
        name="an email and its password give a token pair",
        call="POST /login",
        form={"email": "$email", "password": "$password"},
        gives=TOKENS,
    ),
    Row(
        name="a phone number and its password give a token pair",
        call="POST /login",
        form={"phone_number": "$phone_number", "password": "$password"},
        gives=TOKENS,
    ),
    Row(
        name="an empty identifier counts as absent, for forms send all their inputs",
        call="POST /login",
        form={"username": "", "email": "$email", "phone_number": "", "password": "$password"},
        gives=TOKENS,
    ),
    Row(
        name="an unknown field is ignored",
        call="POST /login",
        form={"username": "$username", "password": "$password", "remember_me": "on"},
        gives=TOKENS,
    ),
    Row(
        name="the order of the fields does not matter",
        call="POST /login",
        form={"password": "$password", "username": "$username"},
        gives=TOKENS,
    ),
    Row(
        name="the query is not read",
        call="POST /login?username=nobody&email=x",
        form={"username": "$username", "password": "$password"},
        gives=TOKENS,
    ),
    Row(
        name="another password is 403",
        call="POST /login",
        form={"username": "$username", "password": "$password!"},
        gives=INVALID_PASSWORD,
    ),
    Row(
        name="a password that nobody could have chosen is 403 too",
        call="POST /login",
        form={"username": "$username", "password": "x"},
        gives=INVALID_PASSWORD,
    ),
    Row(
        name="a username that nobody has is 404",
        call="POST /login",
        form={"username": "x$username", "password": "$password"},
        gives=USER_NOT_FOUND,
    ),
    Row(
        name="an email that nobody has is 404",
        call="POST /login",
        form={"email": "x$email", "password": "$password"},
        gives=USER_NOT_FOUND,
    ),
    Row(
        name="a phone number that nobody has is 404",
        call="POST /login",
        form={"phone_number": "+4930123456", "password": "$password"},
        gives=USER_NOT_FOUND,
    ),
    Row(
        name="a username is not looked up as an email",
        call="POST /login",
        form={"email": "$username", "password": "$password"},
        gives=INVALID_REQUEST,
        reason="email=invalid",
    ),
    Row(
        name="an email is not looked up as a username",
        call="POST /login",
        form={"username": "$email", "password": "$password"},
        gives=INVALID_REQUEST,
        reason="username=invalid",
    ),
    Row(
        name="a phone number is not looked up as a username",
        call="POST /login",
        form={"username": "$phone_number", "password": "$password"},
        gives=INVALID_REQUEST,
        reason="username=invalid",
    ),
    Row(
        name="two identifiers are 400, even of one person",
        call="POST /login",
        form={"username": "$username", "email": "$email", "password": "$password"},
        gives=INVALID_REQUEST,
        reason="identifier=more_than_one",
    ),
    Row(
        name="no identifier is 400",
        call="POST /login",
        form={"password": "$password"},
        gives=INVALID_REQUEST,
        reason="identifier=missing",
    ),
    Row(
        name="no password is 400",
        call="POST /login",
        form={"username": "$username"},
        gives=INVALID_REQUEST,
        reason="password=missing",
    ),
    Row(
        name="an empty password is 400",
        call="POST /login",
        form={"username": "$username", "password": ""},
        gives=INVALID_REQUEST,
        reason="password=missing",
    ),
    Row(
        name="no body is 400",
        call="POST /login",
        gives=INVALID_REQUEST,
        reason="identifier=missing",
    ),
    Row(
        name="a body of an unknown type is 415",
        call="POST /login",
        content=b"username=$username&password=$password",
        media_type="text/plain",
        gives=UNSUPPORTED,
    ),
)
def test_a_login_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)


@pytest.mark.parametrize(
    "media_type",
    [
        FORM,
        f"{FORM}; charset=utf-8",
        f"{FORM};charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded",
        f'{FORM};\tcharset="UTF-8"',
    ],
)
def test_a_form_is_known_however_its_type_is_written(media_type: str, client: Client, person: Person) -> None:
    fields = f"username={person.username}&password={PASSWORD.replace(' ', '+')}".encode()
    row = Row(name="", call="POST /login", content=fields, media_type=media_type, gives=TOKENS)
    row.check(client)


SPELLINGS = {
    "username": [
        ("in capitals", str.upper),
        ("in full-width letters", lambda name: name.translate({code: code + 0xFEE0 for code in range(0x61, 0x7B)})),
    ],
    "email": [
        ("in capitals", str.upper),
        ("with a capital domain", lambda email: email.replace("@example", "@EXAMPLE")),
    ],
    "phone_number": [
        ("with spaces", lambda number: f"{number[:3]} {number[3:6]} {number[6:]}"),
        ("with hyphens and brackets", lambda number: f"{number[:3]} ({number[3:6]}) {number[6:9]}-{number[9:]}"),
        ("with dots", lambda number: f"{number[:3]}.{number[3:6]}.{number[6:]}"),
        ("with the zero that Germans put in brackets", lambda number: f"{number[:3]} (0) {number[3:]}"),
        ("with a full-width plus", lambda number: f"＋{number[1:]}"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "respelled"),
    [
        pytest.param(kind, respelled, id=f"{kind} {how}")
        for kind, spellings in SPELLINGS.items()
        for how, respelled in spellings
    ],
)
def test_an_identifier_logs_in_in_every_spelling(kind, respelled, client: Client, person: Person) -> None:
    typed = respelled(vars(person)[kind])
    assert typed != vars(person)[kind]
    TOKENS.check(client.form("/login", {kind: typed, "password": PASSWORD}))


@pytest.mark.parametrize(
    ("kind", "registered", "typed"),
    [
        ("email", "Grüße-{}@bücher.example", "grüße-{}@xn--bcher-kva.example"),
        ("email", "grüße-{}@xn--bcher-kva.example", "GRÜSSE-{}@BÜCHER.example".replace("SS", "ß")),
        ("email", "anna-{}@faß.example", "anna-{}@xn--fa-hia.example"),
        ("username", "Zo\u00eb-{}", "zoe\u0308-{}"),
        ("username", "ΣΊΣΥΦΟΣ-{}", "σίσυφος-{}"),
        ("username", "ｷﾀﾉ-{}", "キタノ-{}"),
    ],
    ids=[
        "an international domain, later in its ASCII form",
        "an ASCII domain, later in its international form",
        "a domain with a sharp s, later in its ASCII form",
        "a composed letter, later decomposed",
        "Greek capitals, later small with a final sigma",
        "half-width kana, later full-width",
    ],
)
def test_what_was_registered_in_one_spelling_logs_in_in_another(kind, registered, typed, client: Client) -> None:
    serial = fresh_name("x")
    SUCCESS.check(client.send_json("/register", {kind: registered.format(serial), "password": PASSWORD}))
    TOKENS.check(client.form("/login", {kind: typed.format(serial), "password": PASSWORD}))


def test_every_login_gives_other_tokens(client: Client, person: Person) -> None:
    pairs = [client.log_in(person.username) for _ in range(3)]
    assert len({pair["access_token"] for pair in pairs}) == 3
    assert len({pair["refresh_token"] for pair in pairs}) == 3


def test_only_who_knows_the_password_hears_that_a_user_is_disabled(
    shared_node: Node, client: Client, person: Person
) -> None:
    """The contract has no word for it, so the body is that of a wrong password; the reason is told beside it."""
    assert _administer(shared_node, "disable", person).returncode == 0
    known = client.form("/login", {"username": person.username, "password": PASSWORD})
    INVALID_PASSWORD.check(known, reason="user=disabled")
    INVALID_PASSWORD.check(client.form("/login", {"username": person.username, "password": "guessed wrong"}))
    assert _administer(shared_node, "enable", person).returncode == 0
    TOKENS.check(client.form("/login", {"username": person.username, "password": PASSWORD}))


def _administer(node: Node, verb: str, person: Person) -> subprocess.CompletedProcess[str]:
    return node.command("users", verb, person.username)


REGISTERS_AT_LOGIN = Row(
    name="a JSON body registers, as the contract's document prints it",
    call="POST /login",
    json={"username": "new-$username", "password": "$password"},
    gives=SUCCESS,
)


def test_a_json_body_at_login_registers(client: Client, person: Person) -> None:
    REGISTERS_AT_LOGIN.check(client, person)
    TOKENS.check(client.form("/login", {"username": f"new-{person.username}", "password": PASSWORD}))


def test_a_json_body_at_login_is_answered_as_at_register(client: Client, person: Person) -> None:
    """Not as a login: whoever exists already is taken."""
    again = {"username": person.username, "password": PASSWORD}
    INVALID_REQUEST.check(client.send_json("/login", again), reason="username=taken")
    INVALID_REQUEST.check(client.send_json("/login", {"password": "short"}), reason="username=missing")


def test_registering_at_login_can_be_turned_off(database: str, tmp_path) -> None:
    with running_node(database, tmp_path, REGISTER_AT_LOGIN="false") as node, node.client() as client:
        person = client.person()
        refused = client.send_json("/login", {"username": f"new-{person.username}", "password": PASSWORD})
        INVALID_REQUEST.check(refused, reason="body=not_a_form")
        problem = client.send_json("/login", {}, accept="application/problem+json").json
        assert problem["errors"] == [{"field": "body", "reason": "not_a_form"}]
        gone = client.form("/login", {"username": f"new-{person.username}", "password": PASSWORD})
        USER_NOT_FOUND.check(gone)
        assert client.send("POST", "/login", body=b"", headers={"Content-Type": JSON}).status == 400
        TOKENS.check(client.form("/login", {"username": person.username, "password": PASSWORD}))
