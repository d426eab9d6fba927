"""Forms and queries that cannot be read or lack something: 400 with the reason, nothing hashed, nothing stored."""

from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from tests.acceptance.conftest import INTROSPECTION
from tests.support.client import FORM, Client, Person, basic
from tests.support.contract import INVALID_REQUEST, UNSUPPORTED, Row
from tests.support.untouched import Watch


class Form(NamedTuple):
    """A call that would be answered 200, until the test spoils it.

    Attributes:
        authorization: Header Authorization.
        optional: Fields that may be left out.
    """

    fields: dict[str, str]
    authorization: str = ""
    optional: tuple[str, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": self.authorization} if self.authorization else {}


BEARER: Final = "Bearer $access_token"

FORMS: Final = {
    "POST /login": Form({"username": "$username", "password": "$password"}),
    "POST /refresh": Form({"refresh_token": "$refresh_token"}),
    "POST /logout": Form({"scope": "this"}, BEARER, optional=("scope",)),
    "POST /me/password": Form({"current_password": "$password", "new_password": "correct donkey battery"}, BEARER),
    "POST /revoke": Form({"token": "$refresh_token"}),
    "POST /introspect": Form({"token": "$access_token"}, basic(*INTROSPECTION)),
}
FIELDS: Final = [(call, field) for call, form in FORMS.items() for field in form.fields]
REQUIRED: Final = [(call, field) for call, field in FIELDS if field not in FORMS[call].optional]

UNREADABLE: Final = {
    "a percent sign alone": (b"x=%", "broken_percent_encoding"),
    "a percent sign and one digit": (b"x=%4", "broken_percent_encoding"),
    "a percent sign and no digits": (b"x=%zz", "broken_percent_encoding"),
    "a percent sign and a sign": (b"x=%+1", "broken_percent_encoding"),
    "a broken percent sign in a name": (b"%u0041=x", "broken_percent_encoding"),
    "a byte that no UTF-8 has": (b"x=%ff", "not_utf8"),
    "such a byte as it is": (b"x=\xff", "not_utf8"),
    "such a byte in a name": (b"%fe=x", "not_utf8"),
    "a slash in two bytes": (b"x=%c0%af", "not_utf8"),
    "a lone surrogate in UTF-8's form": (b"x=%ed%a0%80", "not_utf8"),
    "half a letter": (b"x=%c3", "not_utf8"),
    "more fields than anybody has": (b"&".join(b"x%d=1" % number for number in range(65)), "too_many_fields"),
}


def spoiled(call: str, content: bytes, reason: str) -> Row:
    """The row of *call* with *content* for its body."""
    headers = FORMS[call].headers
    return Row(name="", call=call, content=content, media_type=FORM, headers=headers, gives=INVALID_REQUEST, reason=reason)


def check_refused(row: Row, client: Client, bystander: Person, watch: Watch) -> None:
    """Assert the contract's 400, that a problem says the same, and that neither cost or left anything."""
    with watch.nothing_hashed_nor_stored():
        row.check(client, bystander)
        row.check_problem(client, bystander)


def encoded(fields: dict[str, str]) -> bytes:
    """*fields* as a body in which the placeholders of a row still stand."""
    return urlencode(fields, safe="$").encode()


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("call", FORMS)
def test_a_form_that_cannot_be_read_is_refused(
    call: str, what: str, client: Client, bystander: Person, watch: Watch
) -> None:
    """Also where the fault stands in a field that nobody asked for."""
    content, reason = UNREADABLE[what]
    row = spoiled(call, encoded(FORMS[call].fields) + b"&" + content, f"body={reason}")
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_query_that_cannot_be_read_is_refused(what: str, client: Client, bystander: Person, watch: Watch) -> None:
    content, reason = UNREADABLE[what]
    target = "/availability?username=$username&" + content.decode("latin-1").replace("\xff", "%ff")
    row = Row(name="", call=f"GET {target}", gives=INVALID_REQUEST, reason=f"query={reason}")
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize("how", ["missing", "empty", "misspelt", "in capitals"])
@pytest.mark.parametrize(("call", "field"), REQUIRED)
def test_a_field_that_is_not_there_is_missing(
    call: str, field: str, how: str, client: Client, bystander: Person, watch: Watch
) -> None:
    fields = dict(FORMS[call].fields)
    typed = fields.pop(field)
    fields |= {"empty": {field: ""}, "misspelt": {field + "s": typed}, "in capitals": {field.upper(): typed}}.get(how, {})
    reason = f"{field}=missing" if (call, field) != ("POST /login", "username") else "identifier=missing"
    check_refused(spoiled(call, encoded(fields), reason), client, bystander, watch)


@pytest.mark.parametrize("again", ["the same", "another value", "empty", "with an encoded name"])
@pytest.mark.parametrize(("call", "field"), FIELDS)
def test_a_field_given_twice_is_refused(
    call: str, field: str, again: str, client: Client, bystander: Person, watch: Watch
) -> None:
    """Two parsers would read two different requests."""
    fields = FORMS[call].fields
    second = {
        "the same": encoded({field: fields[field]}),
        "another value": encoded({field: "x"}),
        "empty": encoded({field: ""}),
        "with an encoded name": b"%%%02x" % ord(field[0]) + encoded({field[1:]: fields[field]}),
    }[again]
    row = spoiled(call, encoded(fields) + b"&" + second, f"{field}=given_twice")
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"x=1&x=1", "x=given_twice"), (b"%0d%0aSet-Cookie:a=1&%0d%0aSet-Cookie:a=1", "field=given_twice")],
    ids=["an unknown name", "a name that must not stand in a header"],
)
@pytest.mark.parametrize("call", FORMS)
def test_an_unknown_field_given_twice_is_refused_too(
    call: str, content: bytes, reason: str, client: Client, bystander: Person, watch: Watch
) -> None:
    check_refused(spoiled(call, encoded(FORMS[call].fields) + b"&" + content, reason), client, bystander, watch)


@pytest.mark.parametrize(("call", "field"), FIELDS)
def test_a_nul_in_a_field_is_refused(call: str, field: str, client: Client, bystander: Person, watch: Watch) -> None:
    fields = FORMS[call].fields
    row = spoiled(call, encoded(fields | {field: fields[field] + "\0"}), f"{field}=invalid_characters")
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize("username", ["a\0b", "a\tb", "a\x7fb", "a\u0085b", "a\u2028b", "a\ufeffb", "a\U000e0001b"])
def test_a_control_character_in_a_query_is_refused(username: str, client: Client, bystander: Person, watch: Watch) -> None:
    reason = "username=invalid_characters" if "\0" in username else "username=invalid"
    row = Row(name="", call=f"GET /availability?username={quote(username)}", gives=INVALID_REQUEST, reason=reason)
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize("how", ["the same", "another", "first empty"])
def test_a_parameter_given_twice_is_refused(how: str, client: Client, bystander: Person, watch: Watch) -> None:
    first, second = {"the same": ("ada", "ada"), "another": ("ada", "eve"), "first empty": ("", "ada")}[how]
    target = f"/availability?username={first}&username={second}"
    row = Row(name="", call=f"GET {target}", gives=INVALID_REQUEST, reason="username=given_twice")
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize(
    "given",
    [
        {"username": "$username", "email": "$email"},
        {"username": "$username", "phone_number": "$phone_number"},
        {"email": "$email", "phone_number": "$phone_number"},
        {"username": "$username", "email": "$email", "phone_number": "$phone_number"},
        {"username": "nobody", "email": "not an address"},
    ],
    ids=lambda given: " and ".join(given),
)
def test_more_than_one_identifier_is_refused(
    given: dict[str, str], client: Client, bystander: Person, watch: Watch
) -> None:
    row = Row(
        name="",
        call="POST /login",
        form={**given, "password": "$password"},
        gives=INVALID_REQUEST,
        reason="identifier=more_than_one",
    )
    check_refused(row, client, bystander, watch)


@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=x", "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("call", FORMS)
def test_an_unknown_media_type_is_refused_unread(
    call: str, media_type: str, client: Client, bystander: Person, watch: Watch
) -> None:
    row = Row(
        name="",
        call=call,
        content=encoded(FORMS[call].fields),
        media_type=media_type,
        headers=FORMS[call].headers,
        gives=UNSUPPORTED,
    )
    check_refused(row, client, bystander, watch)
