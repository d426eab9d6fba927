"""POST /refresh, POST /logout, /me/sessions and POST /revoke, row by row: how a session goes on and how it ends."""

import uuid

import pytest

from tests.support.client import PASSWORD, Client, Person, unverified_claims
from tests.support.contract import (
    INVALID_REQUEST,
    NOT_FOUND,
    SUCCESS,
    TOKEN_MISSING,
    TOKEN_REFUSED,
    TOKENS,
    UNSUPPORTED,
    Row,
    Says,
    body,
    table,
)
from tests.support.nodes import Node
from tests.support.waiting import until_refused

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
SESSION = (
    f'<"id":"{UUID}","created_at":"{TIME}","last_used_at":"{TIME}","expires_at":"{TIME}",'
    '"device":(null|"[^"]*"),"address":(null|"[^"]*"),"current":(true|false)>'
)
SESSIONS = Says(status=200, body=body(rf'<"sessions":\[({SESSION},?)+\]>'))


@table(
    Row(
        name="a refresh token gives the next pair",
        call="POST /refresh",
        form={"refresh_token": "$refresh_token"},
        gives=TOKENS,
    ),
    Row(
        name="a refresh token that was never ours is 401",
        call="POST /refresh",
        form={"refresh_token": "x" * 71},
        gives=TOKEN_REFUSED,
    ),
    Row(
        name="a refresh token with a letter more is 401",
        call="POST /refresh",
        form={"refresh_token": "${refresh_token}A"},
        gives=TOKEN_REFUSED,
    ),
    Row(
        name="a refresh token with spaces around it is 401",
        call="POST /refresh",
        form={"refresh_token": " $refresh_token "},
        gives=TOKEN_REFUSED,
    ),
    Row(
        name="an access token refreshes nothing",
        call="POST /refresh",
        form={"refresh_token": "$access_token"},
        gives=TOKEN_REFUSED,
    ),
    Row(
        name="no refresh token is 400",
        call="POST /refresh",
        form={"token": "$refresh_token"},
        gives=INVALID_REQUEST,
        reason="refresh_token=missing",
    ),
    Row(
        name="no body is 400",
        call="POST /refresh",
        gives=INVALID_REQUEST,
        reason="refresh_token=missing",
    ),
    Row(
        name="JSON is 415",
        call="POST /refresh",
        json={"refresh_token": "$refresh_token"},
        gives=UNSUPPORTED,
    ),
    Row(
        name="a bearer token is neither needed nor looked at",
        call="POST /refresh",
        form={"refresh_token": "$refresh_token"},
        bearer="nonsense",
        gives=TOKENS,
    ),
)
def test_a_refresh_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)


def _refresh(client: Client, refresh_token: str) -> dict[str, str]:
    reply = client.form("/refresh", {"refresh_token": refresh_token})
    TOKENS.check(reply)
    pair: dict[str, str] = reply.json
    return pair


def test_a_refresh_goes_on_in_the_same_session(client: Client, person: Person) -> None:
    pair = _refresh(client, person.refresh_token)
    assert pair["access_token"] != person.access_token
    assert pair["refresh_token"] != person.refresh_token
    claims = unverified_claims(pair["access_token"])
    assert (claims["sub"], claims["sid"]) == (person.user_id, person.session_id)
    assert client.get("/me", token=pair["access_token"]).status == 200
    assert client.get("/me", token=person.access_token).status == 200, "the old access token lives until it expires"


def test_a_lost_answer_is_given_again(client: Client, person: Person) -> None:
    """Promise P7, and P6: it is the same successor."""
    first, again = (_refresh(client, person.refresh_token) for _ in range(2))
    assert first["refresh_token"] == again["refresh_token"]
    _refresh(client, again["refresh_token"])


def test_a_refresh_token_whose_successor_was_used_ends_the_session(
    shared_node: Node, client: Client, person: Person
) -> None:
    """Promise P5."""
    second = _refresh(client, person.refresh_token)
    third = _refresh(client, second["refresh_token"])
    TOKEN_REFUSED.check(client.form("/refresh", {"refresh_token": person.refresh_token}))
    TOKEN_REFUSED.check(client.form("/refresh", {"refresh_token": third["refresh_token"]}))
    until_refused(shared_node, third["access_token"])


@table(
    Row(name="without a scope this session ends", call="POST /logout", bearer="$access_token", gives=SUCCESS),
    Row(name="scope this", call="POST /logout", form={"scope": "this"}, bearer="$access_token", gives=SUCCESS),
    Row(name="scope others", call="POST /logout", form={"scope": "others"}, bearer="$access_token", gives=SUCCESS),
    Row(name="scope all", call="POST /logout", form={"scope": "all"}, bearer="$access_token", gives=SUCCESS),
    Row(name="an empty scope is none", call="POST /logout", form={"scope": ""}, bearer="$access_token", gives=SUCCESS),
    Row(
        name="another scope is 400",
        call="POST /logout",
        form={"scope": "everybody"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="scope=unknown",
    ),
    Row(
        name="a scope in capitals is 400",
        call="POST /logout",
        form={"scope": "ALL"},
        bearer="$access_token",
        gives=INVALID_REQUEST,
        reason="scope=unknown",
    ),
    Row(
        name="JSON is 415",
        call="POST /logout",
        json={"scope": "all"},
        bearer="$access_token",
        gives=UNSUPPORTED,
    ),
    Row(name="without a token it is 401", call="POST /logout", gives=TOKEN_MISSING),
    Row(
        name="whose token is refused learns nothing of their fields",
        call="POST /logout",
        form={"scope": "everybody"},
        bearer="nonsense",
        gives=TOKEN_REFUSED,
    ),
)
def test_a_logout_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)


@pytest.mark.parametrize(
    ("scope", "ends_this", "ends_others"), [("this", True, False), ("others", False, True), ("all", True, True)]
)
def test_a_logout_ends_the_sessions_it_names_and_no_other(
    scope: str, ends_this: bool, ends_others: bool, shared_node: Node, client: Client, person: Person
) -> None:
    """Refresh tokens are refused at once, access tokens within a second (DESIGN 5.4)."""
    other = client.log_in(person.username)
    stranger = client.somebody()
    SUCCESS.check(client.form("/logout", {"scope": scope}, token=person.access_token))
    for ends, refresh_token, access_token in (
        (ends_this, person.refresh_token, person.access_token),
        (ends_others, other["refresh_token"], other["access_token"]),
        (False, stranger.refresh_token, stranger.access_token),
    ):
        (TOKEN_REFUSED if ends else TOKENS).check(client.form("/refresh", {"refresh_token": refresh_token}))
        if ends:
            until_refused(shared_node, access_token)
        else:
            assert client.get("/me", token=access_token).status == 200


def test_the_list_of_sessions_is_whole_and_says_which_is_ours(client: Client, person: Person) -> None:
    fields = {"username": person.username, "password": PASSWORD}
    other = client.form("/login", fields, user_agent="Netscape Navigator/4.0").json
    reply = client.get("/me/sessions", token=person.access_token)
    SESSIONS.check(reply)
    by_id = {session["id"]: session for session in reply.json["sessions"]}
    assert set(by_id) == {person.session_id, unverified_claims(other["access_token"])["sid"]}
    assert by_id[person.session_id]["current"] is True
    newer = by_id[unverified_claims(other["access_token"])["sid"]]
    assert newer["current"] is False
    assert (newer["device"], newer["address"]) == ("Netscape Navigator/4.0", "127.0.0.1")
    assert newer["created_at"] <= newer["last_used_at"] < newer["expires_at"]
    assert reply.json["sessions"][0] == newer, "the latest used comes first"


def test_a_refresh_is_a_use_of_the_session(client: Client, person: Person) -> None:
    (before,) = client.get("/me/sessions", token=person.access_token).json["sessions"]
    _refresh(client, person.refresh_token)
    (after,) = client.get("/me/sessions", token=person.access_token).json["sessions"]
    assert after["last_used_at"] > before["last_used_at"]
    assert after["expires_at"] > before["expires_at"]
    assert after["created_at"] == before["created_at"]


def test_one_of_my_other_sessions_can_be_ended_once(shared_node: Node, client: Client, person: Person) -> None:
    other = client.log_in(person.username)
    path = f"/me/sessions/{unverified_claims(other['access_token'])['sid']}"
    SUCCESS.check(client.delete(path, token=person.access_token))
    NOT_FOUND.check(client.delete(path, token=person.access_token))
    TOKEN_REFUSED.check(client.form("/refresh", {"refresh_token": other["refresh_token"]}))
    until_refused(shared_node, other["access_token"])
    assert client.get("/me", token=person.access_token).status == 200


def test_my_own_session_can_be_ended_by_its_id(shared_node: Node, client: Client, person: Person) -> None:
    SUCCESS.check(client.delete(f"/me/sessions/{person.session_id}", token=person.access_token))
    until_refused(shared_node, person.access_token)


def test_somebody_else_s_session_is_not_found_and_goes_on(client: Client, person: Person) -> None:
    stranger = client.person()
    NOT_FOUND.check(client.delete(f"/me/sessions/{stranger.session_id}", token=person.access_token))
    TOKENS.check(client.form("/refresh", {"refresh_token": stranger.refresh_token}))


@table(
    Row(name="a list without a token is 401", call="GET /me/sessions", gives=TOKEN_MISSING),
    Row(name="a list with a wrong token is 401", call="GET /me/sessions", bearer="x.y.z", gives=TOKEN_REFUSED),
    Row(
        name="ending one without a token is 401",
        call="DELETE /me/sessions/$session_id",
        gives=TOKEN_MISSING,
    ),
    Row(
        name="a session that never was is 404",
        call=f"DELETE /me/sessions/{uuid.uuid4()}",
        bearer="$access_token",
        gives=NOT_FOUND,
    ),
    Row(
        name="an id that is none is 404",
        call="DELETE /me/sessions/current",
        bearer="$access_token",
        gives=NOT_FOUND,
    ),
    Row(
        name="an id with a character too many is 404",
        call="DELETE /me/sessions/${session_id}0",
        bearer="$access_token",
        gives=NOT_FOUND,
    ),
    Row(
        name="an id in braces is 404",
        call="DELETE /me/sessions/%7B${session_id}%7D",
        bearer="$access_token",
        gives=NOT_FOUND,
    ),
    Row(
        name="an id as a URN is 404",
        call="DELETE /me/sessions/urn:uuid:$session_id",
        bearer="$access_token",
        gives=NOT_FOUND,
    ),
    Row(
        name="an id that is not UTF-8 is 404",
        call="DELETE /me/sessions/%ff%fe",
        bearer="$access_token",
        gives=NOT_FOUND,
    ),
    Row(
        name="no id is 404",
        call="DELETE /me/sessions/",
        bearer="$access_token",
        gives=NOT_FOUND,
    ),
)
def test_a_session_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)
    TOKENS.check(client.form("/refresh", {"refresh_token": person.refresh_token}))


@table(
    Row(name="a refresh token is revoked", call="POST /revoke", form={"token": "$refresh_token"}, gives=SUCCESS),
    Row(name="an access token is revoked", call="POST /revoke", form={"token": "$access_token"}, gives=SUCCESS),
    Row(
        name="a hint of the type is allowed, even a wrong one",
        call="POST /revoke",
        form={"token": "$refresh_token", "token_type_hint": "access_token"},
        gives=SUCCESS,
    ),
)
def test_a_token_that_is_given_back_ends_its_session(row: Row, shared_node: Node, client: Client, person: Person) -> None:
    """RFC 7009 section 2.1, and again: what is revoked is as good as unknown (section 2.2)."""
    for _ in range(2):
        row.check(client, person)
    TOKEN_REFUSED.check(client.form("/refresh", {"refresh_token": person.refresh_token}))
    until_refused(shared_node, person.access_token)


@table(
    Row(name="a token that is not ours is 200", call="POST /revoke", form={"token": "nonsense"}, gives=SUCCESS),
    Row(
        name="a token of somebody else's making is 200",
        call="POST /revoke",
        form={"token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."},
        gives=SUCCESS,
    ),
    Row(
        name="no token is 400",
        call="POST /revoke",
        form={"token_type_hint": "access_token"},
        gives=INVALID_REQUEST,
        reason="token=missing",
    ),
    Row(name="JSON is 415", call="POST /revoke", json={"token": "$refresh_token"}, gives=UNSUPPORTED),
)
def test_a_revocation_of_nothing_ends_nothing(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)
    TOKENS.check(client.form("/refresh", {"refresh_token": person.refresh_token}))
