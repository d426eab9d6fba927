"""A refresh token that was replaced, expired, changed or whose user is gone is refused, and reuse ends the session (P5)."""

import base64
from collections.abc import Iterator

import pytest

from tests.support.client import Client, Person
from tests.support.lines import Line, open_lines
from tests.support.nodes import Node
from tests.support.revoking import refused_in_time
from tests.support.tables import change, rows


@pytest.fixture
def lines(shared_node: Node) -> Iterator[list[Line]]:
    """One to each API process."""
    with open_lines(shared_node) as lines:
        yield lines


def refreshed(client: Client, refresh_token: str) -> dict[str, str]:
    reply = client.form("/refresh", {"refresh_token": refresh_token})
    assert reply.status == 200, (reply.status, reply.body)
    pair: dict[str, str] = reply.json
    return pair


def status(client: Client | Line, refresh_token: str) -> int:
    return client.form("/refresh", {"refresh_token": refresh_token}).status


def set_back(node: Node, person: Person, column: str, seconds: float) -> None:
    """Let *column* of the person's session be *seconds* earlier, as if the time had passed."""
    assert column in {"rotated_at", "idle_expires_at", "absolute_expires_at"}
    statement = f"UPDATE sessions SET {column} = {column} - make_interval(secs => $2) WHERE session_id = $1::text::uuid"
    assert change(node.dsn, statement, person.session_id, seconds) == 1


def revoked_at(node: Node, person: Person) -> object:
    (row,) = rows(node.dsn, "SELECT revoked_at FROM sessions WHERE session_id = $1::text::uuid", person.session_id)
    return row["revoked_at"]


def test_within_the_grace_the_same_successor_comes_again(shared_node: Node, client: Client, person: Person) -> None:
    successor = refreshed(client, person.refresh_token)["refresh_token"]
    set_back(shared_node, person, "rotated_at", 8)
    assert refreshed(client, person.refresh_token)["refresh_token"] == successor
    assert revoked_at(shared_node, person) is None


def test_after_the_grace_it_is_reuse_and_everything_of_the_session_dies(
    shared_node: Node, client: Client, lines: list[Line], person: Person
) -> None:
    successor = refreshed(client, person.refresh_token)
    set_back(shared_node, person, "rotated_at", 11)
    assert status(client, person.refresh_token) == 401
    assert revoked_at(shared_node, person) is not None, "the revocation must be committed before the answer"
    refused_in_time(lines, person.access_token, successor["access_token"])
    for line in lines:
        assert status(line, successor["refresh_token"]) == 401
        assert status(line, person.refresh_token) == 401


def test_a_token_before_the_last_is_reuse_at_once(
    shared_node: Node, client: Client, lines: list[Line], person: Person
) -> None:
    """There is no lost answer that it could ask for again."""
    second = refreshed(client, person.refresh_token)
    third = refreshed(client, second["refresh_token"])
    assert status(client, person.refresh_token) == 401
    assert revoked_at(shared_node, person) is not None
    refused_in_time(lines, third["access_token"])
    assert status(client, third["refresh_token"]) == 401


def test_reuse_ends_the_session_that_was_stolen_from_and_no_other(client: Client, person: Person) -> None:
    other = client.log_in(person.username)
    refreshed(client, refreshed(client, person.refresh_token)["refresh_token"])
    assert status(client, person.refresh_token) == 401
    assert client.get("/me", token=other["access_token"]).status == 200
    assert status(client, other["refresh_token"]) == 200


def test_reuse_is_told_apart_in_the_log_only(client: Client, person: Person) -> None:
    """A thief must not learn whether the owner was there first: the answer is that of any other bad token."""
    refreshed(client, refreshed(client, person.refresh_token)["refresh_token"])
    reuse = client.form("/refresh", {"refresh_token": person.refresh_token})
    nonsense = client.form("/refresh", {"refresh_token": "nonsense"})
    assert (reuse.status, reuse.body) == (nonsense.status, nonsense.body)
    told = [
        {name: text for name, text in reply.headers.items() if name not in {"date", "x-request-id"}}
        for reply in (reuse, nonsense)
    ]
    assert told[0] == told[1]


def test_an_idle_session_expires_and_is_not_revoked(shared_node: Node, client: Client, person: Person) -> None:
    set_back(shared_node, person, "idle_expires_at", 14 * 86_400)
    assert status(client, person.refresh_token) == 401
    assert revoked_at(shared_node, person) is None
    assert client.get("/me/sessions", token=client.log_in(person.username)["access_token"]).json["sessions"][0]["current"]


def test_an_old_session_expires_whatever_happens(shared_node: Node, client: Client, person: Person) -> None:
    """Refreshing moves the idle expiry up to the absolute one and never beyond."""
    statement = (
        "UPDATE sessions SET idle_expires_at = now() + interval '1 minute', absolute_expires_at = now() + interval '1 hour'"
        " WHERE session_id = $1::text::uuid"
    )
    change(shared_node.dsn, statement, person.session_id)
    successor = refreshed(client, person.refresh_token)["refresh_token"]
    (row,) = rows(shared_node.dsn, "SELECT * FROM sessions WHERE session_id = $1::text::uuid", person.session_id)
    assert row["idle_expires_at"] == row["absolute_expires_at"]
    set_back(shared_node, person, "idle_expires_at", 3_600)
    assert status(client, successor) == 401


def test_a_token_with_any_octet_changed_is_refused_and_harms_nobody(
    shared_node: Node, client: Client, person: Person
) -> None:
    """Else whoever has seen a session's id could end it."""
    octets = base64.urlsafe_b64decode(person.refresh_token + "=" * (-len(person.refresh_token) % 4))
    for position in range(len(octets)):
        changed = bytearray(octets)
        changed[position] ^= 1
        assert status(client, base64.urlsafe_b64encode(changed).decode().rstrip("=")) == 401, position
    assert revoked_at(shared_node, person) is None
    assert status(client, person.refresh_token) == 200


@pytest.mark.parametrize("words", [("disable",), ("delete", "--yes")], ids=["disabled", "deleted"])
def test_a_user_who_was_sent_away_refreshes_no_more(
    shared_node: Node, client: Client, lines: list[Line], person: Person, words: tuple[str, ...]
) -> None:
    done = shared_node.command("users", words[0], person.username, *words[1:])
    assert done.returncode == 0, done.stderr
    for line in lines:
        assert status(line, person.refresh_token) == 401
    refused_in_time(lines, person.access_token)


def test_enabling_a_user_brings_no_old_session_back(shared_node: Node, client: Client, person: Person) -> None:
    for action in ("disable", "enable"):
        assert shared_node.command("users", action, person.username).returncode == 0
    assert status(client, person.refresh_token) == 401
    assert status(client, client.log_in(person.username)["refresh_token"]) == 200
