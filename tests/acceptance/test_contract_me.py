"""/me, /me/password and /availability, row by row: what a user sees and may change of themselves."""

import pytest

from tests.support.client import PASSWORD, Client, Person, fresh_name
from tests.support.contract import (
    INVALID_PASSWORD,
    INVALID_REQUEST,
    SUCCESS,
    TOKEN_MISSING,
    TOKEN_REFUSED,
    TOKENS,
    UNSUPPORTED,
    USER_NOT_FOUND,
    Row,
    Says,
    body,
    table,
)
from tests.support.nodes import Node
from tests.support.waiting import until, until_refused

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TEXT = r'(null|"[^"]*")'
PRIVATE = "private, no-cache"
PROFILE = Says(
    status=200,
    body=body(
        f'<"userid":"{UUID}","username":{TEXT},"email":{TEXT},"phone_number":{TEXT},'
        f'"full_name":{TEXT},"birthdate":{TEXT},"last_login":{TEXT},"coupons":\\[\\]>'
    ),
    cache=PRIVATE,
).but(vary=None)
NOT_MODIFIED = Says(status=304, body=b"", media_type=None, cache=PRIVATE)
NEW_PASSWORD = "another horse, another battery"


@table(
    Row(name="a profile", call="GET /me", bearer="$access_token", gives=PROFILE),
    Row(
        name="the scheme of a token is known in any case",
        call="GET /me",
        headers={"Authorization": "bEaReR $access_token"},
        gives=PROFILE,
    ),
    Row(name="without a token it is 401", call="GET /me", gives=TOKEN_MISSING),
    Row(
        name="another scheme is no token",
        call="GET /me",
        headers={"Authorization": "Basic $access_token"},
        gives=TOKEN_MISSING,
    ),
    Row(name="a scheme alone is 401", call="GET /me", headers={"Authorization": "Bearer"}, gives=TOKEN_REFUSED),
    Row(name="a token in the query is not looked at", call="GET /me?access_token=$access_token", gives=TOKEN_MISSING),
    Row(name="nonsense is 401", call="GET /me", bearer="nonsense", gives=TOKEN_REFUSED),
    Row(name="a refresh token is 401", call="GET /me", bearer="$refresh_token", gives=TOKEN_REFUSED),
    Row(name="a token with a letter more is 401", call="GET /me", bearer="${access_token}A", gives=TOKEN_REFUSED),
    Row(
        name="two tokens are 401",
        call="GET /me",
        headers={"Authorization": "Bearer $access_token, Bearer $access_token"},
        gives=TOKEN_REFUSED,
    ),
    Row(
        name="a tag of another profile does not spare the answer",
        call="GET /me",
        bearer="$access_token",
        headers={"If-None-Match": '"000000000000000000000000"'},
        gives=PROFILE,
    ),
    Row(
        name="whose token is refused hears no 304",
        call="GET /me",
        bearer="nonsense",
        headers={"If-None-Match": "*"},
        gives=TOKEN_REFUSED,
    ),
)
def test_a_profile_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)


def test_a_profile_says_who_one_is(client: Client, person: Person) -> None:
    profile = client.get("/me", token=person.access_token).json
    assert {**profile, "last_login": ...} == {
        "userid": person.user_id,
        "username": person.username,
        "email": person.email,
        "phone_number": person.phone_number,
        "full_name": None,
        "birthdate": None,
        "last_login": ...,
        "coupons": [],
    }


def test_the_last_login_appears_soon_and_in_utc(client: Client, settled: Person) -> None:
    first = client.get("/me", token=settled.access_token).json["last_login"]
    assert first.endswith("Z")
    client.log_in(settled.username)
    until(
        lambda: client.get("/me", token=settled.access_token).json["last_login"] > first, "the second login was not written"
    )


@pytest.mark.parametrize(
    "named", ["{tag}", "W/{tag}", '"x", {tag}', '"x",W/{tag} , "y"', "*"], ids=["strong", "weak", "second", "listed", "any"]
)
def test_a_profile_that_stands_is_not_sent_again(named: str, client: Client, settled: Person) -> None:
    """RFC 9110 section 13.1.2: If-None-Match compares weakly."""
    tag = client.get("/me", token=settled.access_token).headers["etag"]
    reply = client.get("/me", token=settled.access_token, if_none_match=named.format(tag=tag))
    NOT_MODIFIED.check(reply)
    assert reply.headers["etag"] == tag


def test_the_tag_changes_when_the_profile_does_and_only_then(client: Client, settled: Person) -> None:
    tag = client.get("/me", token=settled.access_token).headers["etag"]
    assert client.get("/me", token=settled.access_token).headers["etag"] == tag
    changed = client.send_json("/me", {"full_name": "Ada"}, method="PATCH", token=settled.access_token)
    assert changed.headers["etag"] != tag
    assert client.get("/me", token=settled.access_token, if_none_match=tag).status == 200
    NOT_MODIFIED.check(client.get("/me", token=settled.access_token, if_none_match=changed.headers["etag"]))


@table(
    Row(name="a full name", call="PATCH /me", json={"full_name": "Ada King"}, bearer="$access_token", gives=PROFILE),
    Row(name="a birth date", call="PATCH /me", json={"birthdate": "1915-12-10"}, bearer="$access_token", gives=PROFILE),
    Row(name="nothing at all", call="PATCH /me", json={}, bearer="$access_token", gives=PROFILE),
    Row(
        name="an absent identifier, sent as null or empty, is no change",
        call="PATCH /me",
        json={"username": None, "email": "", "full_name": "Ada King"},
        bearer="$access_token",
        gives=PROFILE,
    ),
    Row(
        name="an unknown field is ignored",
        call="PATCH /me",
        json={"password": "another password", "last_login": "2001-01-01", "userid": 7},
        bearer="$access_token",
        gives=PROFILE,
    ),
    Row(
        name="a username is not changeable, not even to itself",
        call="PATCH /me",
        json={"username": "$username"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="username=not_changeable",
    ),
    Row(
        name="an email is not changeable",
        call="PATCH /me",
        json={"email": "new-$email"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="email=not_changeable",
    ),
    Row(
        name="a phone number is not changeable, whatever its type",
        call="PATCH /me",
        json={"phone_number": 4915123456789},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="phone_number=not_changeable",
    ),
    Row(
        name="a birth date that is none is 400",
        call="PATCH /me",
        json={"full_name": "Ada King", "birthdate": "10.12.1915"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="birthdate=not_a_date",
    ),
    Row(
        name="a form is 415",
        call="PATCH /me",
        form={"full_name": "Ada King"},
        bearer="$access_token",
        gives=UNSUPPORTED,
    ),
    Row(name="without a token it is 401", call="PATCH /me", json={"full_name": "Ada King"}, gives=TOKEN_MISSING),
    Row(
        name="whose token is refused learns nothing of their fields",
        call="PATCH /me",
        json={"birthdate": "nonsense"},
        bearer="nonsense",
        gives=TOKEN_REFUSED,
    ),
)
def test_a_change_of_a_profile_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)


def test_a_change_is_told_and_kept_and_leaves_the_rest(client: Client, settled: Person) -> None:
    before = client.get("/me", token=settled.access_token).json
    for change in ({"full_name": "Ada King"}, {"birthdate": "1915-12-10"}, {"full_name": "Ada", "birthdate": None}):
        told = client.send_json("/me", change, method="PATCH", token=settled.access_token)
        PROFILE.check(told)
        assert told.body == client.get("/me", token=settled.access_token).body
    assert told.json == {**before, "full_name": "Ada", "birthdate": "1915-12-10"}


def test_a_refused_change_changes_nothing(client: Client, settled: Person) -> None:
    before = client.get("/me", token=settled.access_token).body
    refused = {"full_name": "Ada", "birthdate": "2001-02-29"}
    assert client.send_json("/me", refused, method="PATCH", token=settled.access_token).status == 400
    assert client.get("/me", token=settled.access_token).body == before


def test_unknown_fields_of_a_change_are_never_stored(client: Client, settled: Person) -> None:
    before = client.get("/me", token=settled.access_token).body
    unknown: dict[str, object] = {"password": "another password", "userid": "0" * 32, "last_login": None, "discount": []}
    assert client.send_json("/me", unknown, method="PATCH", token=settled.access_token).body == before
    TOKENS.check(client.form("/login", {"username": settled.username, "password": PASSWORD}))


def test_the_profile_of_a_deleted_user_is_401(shared_node: Node, client: Client, person: Person) -> None:
    assert shared_node.command("users", "delete", person.username, "--yes").returncode == 0
    until_refused(shared_node, person.access_token)
    TOKEN_REFUSED.check(client.form("/refresh", {"refresh_token": person.refresh_token}))
    USER_NOT_FOUND.check(client.form("/login", {"username": person.username, "password": PASSWORD}))


@table(
    Row(
        name="the current password and a new one give a token pair",
        call="POST /me/password",
        form={"current_password": "$password", "new_password": NEW_PASSWORD},
        bearer="$access_token",
        gives=TOKENS,
    ),
    Row(
        name="the same password again may be chosen",
        call="POST /me/password",
        form={"current_password": "$password", "new_password": "$password"},
        bearer="$access_token",
        gives=TOKENS,
    ),
    Row(
        name="another current password is 403",
        call="POST /me/password",
        form={"current_password": "$password ", "new_password": NEW_PASSWORD},
        bearer="$access_token",
        gives=INVALID_PASSWORD,
    ),
    Row(
        name="no current password is 400",
        call="POST /me/password",
        form={"new_password": NEW_PASSWORD},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="current_password=missing",
    ),
    Row(
        name="no new password is 400",
        call="POST /me/password",
        form={"current_password": "$password", "new_password": ""},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="new_password=missing",
    ),
    Row(
        name="a short new password is 400",
        call="POST /me/password",
        form={"current_password": "$password", "new_password": "1234567"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="new_password=too_short",
    ),
    Row(
        name="a common new password is 400",
        call="POST /me/password",
        form={"current_password": "$password", "new_password": "PassWord1"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="new_password=too_common",
    ),
    Row(
        name="one's own email is no new password",
        call="POST /me/password",
        form={"current_password": "$password", "new_password": "$email"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="new_password=same_as_identifier",
    ),
    Row(
        name="a faulty new password is told before a wrong current one",
        call="POST /me/password",
        form={"current_password": "wrong", "new_password": "short"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="new_password=too_short",
    ),
    Row(
        name="JSON is 415",
        call="POST /me/password",
        json={"current_password": "$password", "new_password": NEW_PASSWORD},
        bearer="$access_token",
        gives=UNSUPPORTED,
    ),
    Row(
        name="without a token it is 401",
        call="POST /me/password",
        form={"current_password": "$password", "new_password": NEW_PASSWORD},
        gives=TOKEN_MISSING,
    ),
)
def test_a_change_of_password_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    reply = row.check(client, person)
    works = NEW_PASSWORD if reply.status == 200 and NEW_PASSWORD in str(row.form) else PASSWORD
    TOKENS.check(client.form("/login", {"username": person.username, "password": works}))


def test_a_new_password_ends_every_session_and_begins_one(shared_node: Node, client: Client, person: Person) -> None:
    """Promise P3: the old one never works again."""
    other = client.log_in(person.username)
    fields = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    pair = client.form("/me/password", fields, token=person.access_token).json
    INVALID_PASSWORD.check(client.form("/login", {"username": person.username, "password": PASSWORD}))
    for refresh_token in (person.refresh_token, other["refresh_token"]):
        TOKEN_REFUSED.check(client.form("/refresh", {"refresh_token": refresh_token}))
    for access_token in (person.access_token, other["access_token"]):
        until_refused(shared_node, access_token)
    (session,) = client.get("/me/sessions", token=pair["access_token"]).json["sessions"]
    assert session["current"] is True
    TOKENS.check(client.form("/refresh", {"refresh_token": pair["refresh_token"]}))


FREE = Says(status=200, body=b'{"available":true}')
TAKEN = Says(status=200, body=b'{"available":false}')


@table(
    Row(name="a username that nobody has", call="GET /availability?username=new-$username", gives=FREE),
    Row(name="a username that somebody has", call="GET /availability?username=$username", gives=TAKEN),
    Row(name="an unknown parameter is ignored", call="GET /availability?x=1&username=$username&", gives=TAKEN),
    Row(
        name="no username is 400",
        call="GET /availability",
        gives=INVALID_REQUEST,
        reason="username=missing",
    ),
    Row(
        name="an empty username is 400",
        call="GET /availability?username=",
        gives=INVALID_REQUEST,
        reason="username=missing",
    ),
    Row(
        name="a username that nobody could have is 400",
        call="GET /availability?username=a%20b",
        gives=INVALID_REQUEST,
        reason="username=invalid",
    ),
    Row(
        name="whether an email is registered is nobody's business",
        call="GET /availability?email=$email",
        gives=INVALID_REQUEST,
        reason="username=missing",
    ),
    Row(
        name="nor is an email in place of a username",
        call="GET /availability?username=$email",
        gives=INVALID_REQUEST,
        reason="username=invalid",
    ),
)
def test_an_availability_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)


def test_an_available_name_can_be_registered_and_is_not_available_then(client: Client) -> None:
    name = fresh_name()
    FREE.check(client.get(f"/availability?username={name.upper()}"))
    SUCCESS.check(client.send_json("/register", {"username": name, "password": PASSWORD}))
    TAKEN.check(client.get(f"/availability?username={name.upper()}"))
