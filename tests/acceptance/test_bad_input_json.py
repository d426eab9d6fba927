"""JSON that cannot be read or holds the wrong things: 400 with the reason, nothing hashed, nothing stored."""

import json
from typing import Any, Final

import pytest

from tests.support.client import JSON, PASSWORD, Client, Person
from tests.support.contract import INVALID_REQUEST, UNSUPPORTED, Row
from tests.support.untouched import Watch

VALID: Final[dict[str, dict[str, Any]]] = {
    "POST /register": {
        "username": "new-$username",
        "email": "new-$email",
        "phone_number": "+4915100000001",
        "password": PASSWORD,
        "full_name": "Ada King",
        "birthdate": "1915-12-10",
    },
    "PATCH /me": {"full_name": "Ada King", "birthdate": "1915-12-10"},
}
VALID["POST /login"] = VALID["POST /register"]
"""Calls that would be answered 200, until the test spoils them."""

FIELDS: Final = [(call, field) for call, members in VALID.items() for field in members]

UNREADABLE: Final = {
    "no body": (b"", "body=not_json"),
    "spaces": (b" \n ", "body=not_json"),
    "half an object": (b'{"x": 1', "body=not_json"),
    "a brace alone": (b"{", "body=not_json"),
    "a comma too many": (b'{"x": 1,}', "body=not_json"),
    "single quotes": (b"{'x': 1}", "body=not_json"),
    "a name without quotes": (b"{x: 1}", "body=not_json"),
    "a comment": (b'{"x": 1} // y', "body=not_json"),
    "two objects": (b'{"x": 1} {"y": 2}', "body=not_json"),
    "a number that is none": (b'{"x": NaN}', "body=not_json"),
    "infinity": (b'{"x": Infinity}', "body=not_json"),
    "minus infinity": (b'{"x": [-Infinity]}', "body=not_json"),
    "a leading zero": (b'{"x": 01}', "body=not_json"),
    "a number of 5,000 digits": (b'{"x": ' + b"9" * 5_000 + b"}", "body=not_json"),
    "an escape that is none": (b'{"x": "\\q"}', "body=not_json"),
    "half an escape": (b'{"x": "\\u00"}', "body=not_json"),
    "a newline in a string": (b'{"x": "a\nb"}', "body=not_json"),
    "a NUL in a string": (b'{"x": "a\0b"}', "body=not_json"),
    "a NUL behind the object": (b'{"x": 1}\0', "body=not_json"),
    "a byte order mark": (b'\xef\xbb\xbf{"x": 1}', "body=not_json"),
    "a form": (b"x=1", "body=not_json"),
    "a byte that no UTF-8 has": (b'{"x": "\xff"}', "body=not_utf8"),
    "a lone surrogate in UTF-8's form": (b'{"x": "\xed\xa0\x80"}', "body=not_utf8"),
    "UTF-16": ('{"x": 1}'.encode("utf-16"), "body=not_utf8"),
    "Latin-1": ('{"x": "ü"}'.encode("latin-1"), "body=not_utf8"),
    "8,000 brackets": (b"[" * 8_000, "body=nested_too_deeply"),
    "4,000 brackets, closed": (b'{"x": ' + b"[" * 4_000 + b"]" * 4_000 + b"}", "body=nested_too_deeply"),
    "1,300 objects, closed": (b'{"x":' * 1_300 + b"1" + b"}" * 1_300, "body=nested_too_deeply"),
    "a list": (b"[]", "body=not_an_object"),
    "a list of an object": (b'[{"x": 1}]', "body=not_an_object"),
    "null": (b"null", "body=not_an_object"),
    "true": (b"true", "body=not_an_object"),
    "a number": (b"1", "body=not_an_object"),
    "a string": (b'"username"', "body=not_an_object"),
    "a member twice": (b'{"x": 1, "x": 1}', "x=given_twice"),
    "a member twice, once escaped": (b'{"x": 1, "\\u0078": 2}', "x=given_twice"),
    "a member twice, once null": (b'{"x": null, "x": 2}', "x=given_twice"),
    "a member twice far inside": (b'{"x": [{"y": {"z": 1, "z": 2}}]}', "z=given_twice"),
    "a member twice whose name must not stand in a header": (b'{"\\r\\nX:": 1, "\\r\\nX:": 2}', "field=given_twice"),
}

WRONG_TYPES: Final = [0, 1, -1.5, True, False, [], ["x"], {}, {"x": "y"}]


def spoiled(call: str, content: bytes, reason: str) -> Row:
    """The row of *call* with *content* for its body."""
    return Row(
        name="",
        call=call,
        content=content,
        media_type=JSON,
        bearer="$access_token" if call == "PATCH /me" else None,
        gives=INVALID_REQUEST,
        reason=reason,
    )


def check_refused(row: Row, client: Client, bystander: Person, watch: Watch) -> None:
    """Assert the contract's refusal, that a problem says the same, and that neither cost or left anything."""
    with watch.nothing_hashed_nor_stored():
        row.check(client, bystander)
        row.check_problem(client, bystander)


def with_member(call: str, field: str, value: object) -> bytes:
    """The valid body with another value for *field*; lone surrogates become escapes."""
    return json.dumps(VALID[call] | {field: value}).encode()


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("call", VALID)
def test_json_that_cannot_be_read_is_refused(call: str, what: str, client: Client, bystander: Person, watch: Watch) -> None:
    content, reason = UNREADABLE[what]
    check_refused(spoiled(call, content, reason), client, bystander, watch)


@pytest.mark.parametrize("value", WRONG_TYPES, ids=json.dumps)
@pytest.mark.parametrize(("call", "field"), FIELDS)
def test_a_member_of_another_type_is_refused(
    call: str, field: str, value: object, client: Client, bystander: Person, watch: Watch
) -> None:
    """Zero, false and the empty list too: only null and the empty string count as absent."""
    check_refused(spoiled(call, with_member(call, field, value), f"{field}=not_a_string"), client, bystander, watch)


@pytest.mark.parametrize("value", WRONG_TYPES, ids=json.dumps)
@pytest.mark.parametrize("field", ["username", "email", "phone_number"])
def test_an_identifier_is_not_changeable_whatever_its_type(
    field: str, value: object, client: Client, bystander: Person, watch: Watch
) -> None:
    row = spoiled("PATCH /me", with_member("PATCH /me", field, value), f"{field}=not_changeable")
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize("again", ["the same", "another", "null", "escaped"])
@pytest.mark.parametrize(("call", "field"), FIELDS)
def test_a_member_given_twice_is_refused(
    call: str, field: str, again: str, client: Client, bystander: Person, watch: Watch
) -> None:
    """RFC 7493 section 2.3; two parsers would read two different requests."""
    name = json.dumps(field) if again != "escaped" else f'"\\u{ord(field[0]):04x}{field[1:]}"'
    value = {"another": '"x"', "null": "null"}.get(again, json.dumps(VALID[call][field]))
    content = f"{json.dumps(VALID[call])[:-1]}, {name}: {value}}}".encode()
    check_refused(spoiled(call, content, f"{field}=given_twice"), client, bystander, watch)


@pytest.mark.parametrize(
    "character",
    ["\0", chr(0xD800), chr(0xDFFF), chr(0xDC00) + chr(0xD800)],
    ids=["NUL", "a high surrogate", "a low surrogate", "a pair the wrong way round"],
)
@pytest.mark.parametrize(("call", "field"), FIELDS)
def test_what_no_column_holds_is_refused(
    call: str, field: str, character: str, client: Client, bystander: Person, watch: Watch
) -> None:
    content = with_member(call, field, VALID[call][field] + character)
    check_refused(spoiled(call, content, f"{field}=invalid_characters"), client, bystander, watch)


@pytest.mark.parametrize("call", ["POST /register", "POST /login"])
@pytest.mark.parametrize("absent", ["missing", None, ""], ids=["missing", "null", "empty"])
@pytest.mark.parametrize("field", ["password", "identifier"])
def test_what_a_registration_needs_must_be_there(
    field: str, absent: str | None, call: str, client: Client, bystander: Person, watch: Watch
) -> None:
    names = ["password"] if field == "password" else ["username", "email", "phone_number"]
    members = {name: value for name, value in VALID[call].items() if name not in names}
    if absent != "missing":
        members |= dict.fromkeys(names, absent)
    check_refused(spoiled(call, json.dumps(members).encode(), f"{names[0]}=missing"), client, bystander, watch)


@pytest.mark.parametrize("media_type", ["text/plain", "text/json", "application/xml", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("call", VALID)
def test_an_unknown_media_type_is_refused_unread(
    call: str, media_type: str, client: Client, bystander: Person, watch: Watch
) -> None:
    row = Row(
        name="",
        call=call,
        content=json.dumps(VALID[call]).encode(),
        media_type=media_type,
        bearer="$access_token",
        gives=UNSUPPORTED,
    )
    check_refused(row, client, bystander, watch)
