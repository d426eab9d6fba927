"""Strings that have broken others, in every field of every endpoint: no 5xx, and what registers logs in."""

import base64
import json
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import pytest

from tests.acceptance.conftest import INTROSPECTION
from tests.support.client import FORM, PASSWORD, Client, Person, Reply, basic, fresh_name
from tests.support.contract import INVALID_PASSWORD, INVALID_REQUEST, SUCCESS, TOKENS
from tests.support.nodes import Node

_FILE: Final = Path(__file__).parents[1] / "data" / "blns" / "blns.json"
# The empty one comes last: an empty scope of /logout is none, and ends the session that the others need.
NAUGHTY: Final[list[str]] = sorted(set(json.loads(_FILE.read_text(encoding="utf-8"))), key=lambda text: (-len(text), text))

COMMON: Final = {"infinity"}
"""What of them is among the most common passwords."""

CONNECTIONS: Final = 4

MESSAGES: Final = {
    400: {"invalid request"},
    401: {"unauthorized"},
    403: {"invalid password"},
    404: {"user not found", "not found"},
    405: {"method not allowed"},
    413: {"request too large"},
    415: {"unsupported media type"},
}

Place = Callable[[Client, Person, str], Reply]


def send(client: Client, method: str, target: str, **headers: str) -> Reply:
    """A request without a body, whose header values are sent as UTF-8."""
    octets = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
    return client.send(method, target, headers=octets)


def form_field(path: str, field: str, **others: str) -> Place:
    """The string as *field* of a form, of a user who has logged in."""

    def place(client: Client, person: Person, text: str) -> Reply:
        authorization = basic(*INTROSPECTION) if path == "/introspect" else f"Bearer {person.access_token}"
        return client.form(path, others | {field: text}, authorization=authorization)

    return place


def member(method: str, path: str, field: str, **others: str) -> Place:
    """The string as a member of a JSON body."""

    def place(client: Client, person: Person, text: str) -> Reply:
        return client.send_json(path, others | {field: text}, method=method, token=person.access_token)

    return place


def header(method: str, target: str, name: str, *, prefix: str = "") -> Place:
    """The string as a header, after *prefix*."""

    def place(client: Client, person: Person, text: str) -> Reply:
        return send(client, method, target, **{name: prefix + text})

    return place


def media_type(path: str) -> Place:
    """The string as the type of a body."""

    def place(client: Client, person: Person, text: str) -> Reply:
        return client.send("POST", path, body=b"username=x&password=y", headers={"Content-Type": text.encode()})

    return place


def credentials(client: Client, person: Person, text: str) -> Reply:
    """The string as name and secret of a client."""
    encoded = base64.b64encode(f"{text}:{text}".encode()).decode()
    return client.form("/introspect", {"token": person.access_token}, authorization=f"Basic {encoded}")


def field_name(client: Client, person: Person, text: str) -> Reply:
    """The string as the name and the value of a field that nobody asked for."""
    body = f"{quote_plus(text)}={quote_plus(text)}&refresh_token=x".encode()
    return client.send("POST", "/refresh", body=body, headers={"Content-Type": FORM})


def undecorated_body(client: Client, person: Person, text: str) -> Reply:
    """The string as the whole body of a form, not encoded at all."""
    return client.send("POST", "/refresh", body=text.encode(), headers={"Content-Type": FORM})


def undecorated_json(client: Client, person: Person, text: str) -> Reply:
    """The string as the whole body of JSON."""
    return client.send("POST", "/register", body=text.encode(), headers={"Content-Type": "application/json"})


def member_name(client: Client, person: Person, text: str) -> Reply:
    """The string as a name and a value far inside a member that nobody asked for."""
    return client.send_json("/me", {"x": {text: [text]}}, method="PATCH", token=person.access_token)


# All places but those where a string that is accepted is hashed; the tests behind have these.
PLACES: Final[dict[str, Place]] = {
    "POST /login username": form_field("/login", "username", password="x"),
    "POST /login email": form_field("/login", "email", password="x"),
    "POST /login phone_number": form_field("/login", "phone_number", password="x"),
    "POST /login password of nobody": form_field("/login", "password", username="nobody-has-this-name"),
    "POST /login media type": media_type("/login"),
    "POST /register media type": media_type("/register"),
    "POST /register birthdate": member("POST", "/register", "birthdate", username="x", password="short"),
    "POST /register campaign": member("POST", "/register", "campaign", username="x", password="short"),
    "POST /register body": undecorated_json,
    "POST /login birthdate": member("POST", "/login", "birthdate", username="x", password="short"),
    "POST /refresh refresh_token": form_field("/refresh", "refresh_token"),
    "POST /refresh name of a field": field_name,
    "POST /refresh body": undecorated_body,
    "POST /logout scope": form_field("/logout", "scope"),
    "GET /me token": header("GET", "/me", "Authorization", prefix="Bearer "),
    "GET /me Authorization": header("GET", "/me", "Authorization"),
    "GET /me Accept": header("GET", "/me", "Accept"),
    "PATCH /me full_name": member("PATCH", "/me", "full_name"),
    "PATCH /me birthdate": member("PATCH", "/me", "birthdate"),
    "PATCH /me username": member("PATCH", "/me", "username"),
    "PATCH /me name of a member": member_name,
    "GET /me/sessions token": header("GET", "/me/sessions", "Authorization", prefix="bearer "),
    "DELETE /me/sessions/{id}": lambda client, person, text: send(
        client, "DELETE", f"/me/sessions/{quote(text, safe='')}", Authorization=f"Bearer {person.access_token}"
    ),
    "GET /availability username": lambda client, _, text: client.get(f"/availability?username={quote_plus(text)}"),
    "GET /availability name of a parameter": lambda client, _, text: client.get(
        f"/availability?{quote_plus(text)}=1&username=x"
    ),
    "POST /revoke token": form_field("/revoke", "token"),
    "POST /revoke token_type_hint": form_field("/revoke", "token_type_hint", token="x"),
    "POST /introspect token": form_field("/introspect", "token"),
    "POST /introspect credentials": credentials,
    "GET a path": lambda client, _, text: client.get(f"/{quote(text)}"),
    "GET /health/live request id": header("GET", "/health/live", "X-Request-Id"),
    "GET /health/live client address": header("GET", "/health/live", "X-Forwarded-For"),
    "GET /.well-known/jwks.json If-None-Match": header("GET", "/.well-known/jwks.json", "If-None-Match"),
    "GET /docs Host": header("GET", "/docs", "Host"),
}


def check_form(reply: Reply, text: str) -> None:
    """Assert the form that every answer has."""
    assert reply.status < 500, (text, reply)
    if reply.status >= 400:
        told = json.loads(reply.body)
        assert list(told) == ["code", "message"], (text, reply)
        assert told["code"] == str(reply.status), (text, reply)
        assert told["message"] in MESSAGES[reply.status], (text, reply)
        assert reply.headers["content-type"] == "application/json", (text, reply)


def through(node: Node, call: Callable[[Client, str], None], texts: list[str] = NAUGHTY) -> None:
    """Call *call* with each of *texts*, over a few connections at once."""

    def share(number: int) -> None:
        with node.client() as client:
            for text in texts[number::CONNECTIONS]:
                call(client, text)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(share, range(CONNECTIONS)))


@pytest.mark.parametrize("name", PLACES)
def test_every_naughty_string_is_answered_in_the_contract_s_form(name: str, client: Client, person: Person) -> None:
    for text in NAUGHTY:
        check_form(PLACES[name](client, person, text), text)
    assert client.get("/health/live").status == 200


def fault_of_password(text: str) -> str | None:
    """Why *text* may not be a password, or None if it may."""
    if not text:
        return "missing"
    if len(unicodedata.normalize("NFC", text)) < 8:
        return "too_short"
    return "too_common" if text.lower() in COMMON else None


def fault_of_full_name(text: str) -> str | None:
    """Why *text* may not be a full name, or None if it may."""
    if len(text) > 255:
        return "too_long"
    has_controls = any(unicodedata.category(character) == "Cc" for character in text)
    return "invalid_characters" if has_controls else None


def test_the_strings_are_all_there() -> None:
    assert len(NAUGHTY) == 511
    assert sum(fault_of_password(text) is None for text in NAUGHTY) > 200
    assert max(len(text.encode()) for text in NAUGHTY) <= 1_024


@pytest.mark.parametrize("kind", ["username", "email", "phone_number"])
def test_what_registers_as_a_name_logs_in_by_it(kind: str, shared_node: Node) -> None:
    accepted = []

    def register(client: Client, text: str) -> None:
        members = {kind: text, "password": PASSWORD}
        registered = client.send_json("/register" if len(text) % 2 else "/login", members)
        check_form(registered, text)
        login = client.form("/login", members)
        check_form(login, text)
        # Two strings may be spellings of one name: then one of them registers, and both log in.
        is_taken = registered.reason == f"{kind}=taken"
        if registered.status == 200 or is_taken:
            accepted.append(text)
            TOKENS.check(login)
        else:
            assert registered.reason in {f"{kind}=invalid", f"{kind}=too_long", "username=missing"}, text
            assert login.status == 400, text

    through(shared_node, register)
    assert len(accepted) >= {"username": 100, "email": 0, "phone_number": 0}[kind]


def test_what_is_accepted_as_a_password_and_a_full_name_logs_in(shared_node: Node) -> None:
    """And names the device too: the login says each string as its User-Agent."""

    def register(client: Client, text: str) -> None:
        name = fresh_name()
        members = {"username": name, "password": PASSWORD, "full_name": "Ada King"}
        for field, fault in (("password", fault_of_password(text)), ("full_name", fault_of_full_name(text))):
            if fault is None:
                members[field] = text
            else:
                refused = client.send_json("/register", members | {field: text})
                INVALID_REQUEST.check(refused, reason=f"{field}={fault}")
        SUCCESS.check(client.send_json("/register", members))
        body = f"username={name}&password={quote_plus(members['password'])}".encode()
        login = client.send("POST", "/login", body=body, headers={"Content-Type": FORM, "User-Agent": text.encode()})
        if login.status == 400 and fault_of_full_name(text) == "invalid_characters":
            return  # a control character in a header is no HTTP
        TOKENS.check(login)
        token = login.json["access_token"]
        assert client.get("/me", token=token).json["full_name"] == (
            unicodedata.normalize("NFC", members["full_name"]) or None
        )
        (session,) = client.get("/me/sessions", token=token).json["sessions"]
        assert (session["device"] or "").strip(" \t") == text[:255].strip(" \t"), text

    through(shared_node, register)


def test_every_string_that_may_be_a_password_can_be_changed_to_and_from(client: Client, person: Person) -> None:
    current, token = PASSWORD, person.access_token
    for text in NAUGHTY:
        fields = {"current_password": current, "new_password": text}
        reply = client.form("/me/password", fields, token=token)
        fault = fault_of_password(text)
        if fault is None:
            TOKENS.check(reply)
            current, token = text, reply.json["access_token"]
        else:
            INVALID_REQUEST.check(reply, reason=f"new_password={fault}")
    TOKENS.check(client.form("/login", {"username": person.username, "password": current}))


def test_a_string_that_is_not_the_password_is_told_so(shared_node: Node, person: Person) -> None:
    def guess(client: Client, text: str) -> None:
        login = client.form("/login", {"username": person.username, "password": text})
        change = {"current_password": text, "new_password": "correct donkey battery"}
        changed = client.form("/me/password", change, token=person.access_token)
        if text:
            INVALID_PASSWORD.check(login)
            INVALID_PASSWORD.check(changed)
        else:
            INVALID_REQUEST.check(login, reason="password=missing")
            INVALID_REQUEST.check(changed, reason="current_password=missing")

    through(shared_node, guess, [text for text in NAUGHTY if fault_of_password(text)])
