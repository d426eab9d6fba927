"""The header Idempotency-Key on a running node: what is told to whom who asks again (ADR 0019)."""

import asyncio
import re
from uuid import uuid4

import pytest

from tests.support.canaries import Canaries
from tests.support.client import JSON, PASSWORD, PROBLEM, Client, Somebody, fresh_name, unverified_claims
from tests.support.contract import SUCCESS, TOKEN_REFUSED, TOKENS, refusal
from tests.support.nodes import Node, running_worker
from tests.support.tables import change, rows, value
from tests.support.waiting import until, until_refused
from tests.support.wires import Wire

NEW_PASSWORD = "another horse, another battery"
REUSED = refusal(422, "idempotency key reused")


@pytest.fixture
def key() -> str:
    return str(uuid4())


def change_password(client: Client, somebody: Somebody, key: str, *, current: str = PASSWORD, new: str = NEW_PASSWORD):
    fields = {"current_password": current, "new_password": new}
    return client.form("/me/password", fields, token=somebody.access_token, idempotency_key=key)


def test_a_registration_sent_again_is_success_however_it_is_written(client: Client, shared_node: Node, key: str) -> None:
    """Quoted or not, its members in another order, at the twin path, and with members that nobody reads."""
    name = fresh_name()
    first = client.send_json("/register", {"username": name, "password": PASSWORD}, idempotency_key=key)
    again = [
        client.send_json("/register", {"username": name, "password": PASSWORD}, idempotency_key=f'"{key}"'),
        client.send_json("/register", {"password": PASSWORD, "username": name, "email": None}, idempotency_key=key),
        client.send_json("/login", {"username": name, "password": PASSWORD}, idempotency_key=key),
        client.send_json("/register", {"username": name, "password": PASSWORD, "colour": "blue"}, idempotency_key=key),
    ]
    for reply in (first, *again):
        SUCCESS.check(reply)
        assert reply.body == first.body
    assert value(shared_node.dsn, "SELECT count(*) FROM users WHERE username = $1", name) == 1
    without = client.send_json("/register", {"username": name, "password": PASSWORD})
    assert (without.status, without.reason) == (400, "username=taken")


def test_another_registration_under_the_key_is_422_in_both_forms(client: Client, key: str) -> None:
    name = fresh_name()
    client.send_json("/register", {"username": name, "password": PASSWORD}, idempotency_key=key)
    other = {"username": name, "password": NEW_PASSWORD}
    REUSED.check(client.send_json("/register", other, idempotency_key=key))
    problem = client.send_json("/login", other, idempotency_key=key, accept=PROBLEM)
    assert problem.status == 422
    assert problem.headers["content-type"] == PROBLEM
    assert problem.json["type"] == "/docs#idempotency-key-reused"
    assert (problem.json["title"], problem.json["status"]) == ("idempotency key reused", 422)
    assert client.form("/login", other).status == 403


@pytest.mark.parametrize(
    ("header", "reason"),
    [("", "too_short"), ("short", "too_short"), ('"open-0123456789abcdef', "malformed"), ("x" * 256, "too_long")],
)
def test_a_malformed_key_is_400_before_anything_is_done(client: Client, header: str, reason: str) -> None:
    name = fresh_name()
    reply = client.send_json("/register", {"username": name, "password": PASSWORD}, idempotency_key=header)
    assert (reply.status, reply.reason) == (400, f"idempotency-key={reason}")
    client.register(name)


def test_a_refused_registration_leaves_the_key_free(client: Client, key: str) -> None:
    taken, name = client.register(), fresh_name()
    assert client.send_json("/register", {"username": taken, "password": PASSWORD}, idempotency_key=key).status == 400
    SUCCESS.check(client.send_json("/register", {"username": name, "password": PASSWORD}, idempotency_key=key))


def test_after_a_day_the_key_is_free(client: Client, shared_node: Node, key: str) -> None:
    name = fresh_name()
    client.send_json("/register", {"username": name, "password": PASSWORD}, idempotency_key=key)
    made = "made = (SELECT userid FROM users WHERE username = $1)"
    left = "SELECT extract(epoch FROM expires_at - now())::float8 FROM idempotency_keys WHERE "
    assert 24 * 3600 - 60 < value(shared_node.dsn, left + made, name) <= 24 * 3600
    assert change(shared_node.dsn, f"UPDATE idempotency_keys SET expires_at = now() WHERE {made}", name) == 1
    SUCCESS.check(client.send_json("/register", {"username": fresh_name(), "password": PASSWORD}, idempotency_key=key))


def test_a_worker_removes_expired_keys(client: Client, shared_node: Node, key: str) -> None:
    """The first thing that one does that starts; the shared one looks once a minute."""
    name = fresh_name()
    client.send_json("/register", {"username": name, "password": PASSWORD}, idempotency_key=key)
    expired = "UPDATE idempotency_keys SET expires_at = now() - interval '1 s' WHERE made = $1"
    made = value(shared_node.dsn, "SELECT userid FROM users WHERE username = $1", name)
    assert change(shared_node.dsn, expired, made) == 1
    left = "SELECT count(*) FROM idempotency_keys WHERE made = $1"
    with running_worker(shared_node):
        until(lambda: value(shared_node.dsn, left, made) == 0, "nobody removes it")


def test_an_answer_that_is_cut_after_the_commit_can_be_had_again(client: Client, shared_node: Node, key: str) -> None:
    name = fresh_name()

    async def register_and_vanish() -> None:
        wire = await Wire.to(shared_node.port)
        body = f'{{"username":"{name}","password":"{PASSWORD}"}}'
        head = f"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nIdempotency-Key: {key}\r\n"
        wire.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        await wire.writer.drain()
        stored = "SELECT count(*) FROM users WHERE username = $1"
        await asyncio.to_thread(until, lambda: value(shared_node.dsn, stored, name) == 1, "never stored")
        wire.reset()

    asyncio.run(register_and_vanish())
    SUCCESS.check(client.send_json("/register", {"username": name, "password": PASSWORD}, idempotency_key=key))


def test_a_change_of_password_sent_again_gives_the_same_session(client: Client, shared_node: Node, key: str) -> None:
    """With the token that the change has ended: who lost the answer has no other."""
    somebody = client.somebody()
    first = change_password(client, somebody, key)
    until_refused(shared_node, somebody.access_token)
    again = change_password(client, somebody, key)
    for reply in (first, again):
        TOKENS.check(reply)
    assert again.json["refresh_token"] == first.json["refresh_token"]
    sessions = {unverified_claims(reply.json["access_token"])["sid"] for reply in (first, again)}
    assert len(sessions) == 1
    assert client.get("/me", token=again.json["access_token"]).status == 200
    assert client.form("/refresh", {"refresh_token": again.json["refresh_token"]}).status == 200


def test_other_passwords_under_the_key_are_422_and_another_key_is_401(client: Client, shared_node: Node, key: str) -> None:
    somebody = client.somebody()
    change_password(client, somebody, key)
    until_refused(shared_node, somebody.access_token)
    REUSED.check(change_password(client, somebody, key, new="a third horse, a third battery"))
    TOKEN_REFUSED.check(change_password(client, somebody, str(uuid4()), current=NEW_PASSWORD, new=PASSWORD))
    client.log_in(somebody.username, NEW_PASSWORD)


def test_no_tokens_of_a_session_that_has_ended_since(client: Client, key: str) -> None:
    somebody = client.somebody()
    pair = change_password(client, somebody, key).json
    assert client.form("/logout", {"scope": "all"}, token=pair["access_token"]).status == 200
    TOKEN_REFUSED.check(change_password(client, somebody, key))


def test_a_token_that_we_did_not_sign_repeats_nothing(client: Client, key: str) -> None:
    somebody = client.somebody()
    change_password(client, somebody, key)
    head, claims, signature = somebody.access_token.split(".")
    forged = f"{head}.{claims}.{signature[:-4]}AAAA"
    fields = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    TOKEN_REFUSED.check(client.form("/me/password", fields, token=forged, idempotency_key=key))


def test_nothing_of_key_password_or_tokens_is_in_the_table(client: Client, shared_node: Node, key: str) -> None:
    """Nor in the log."""
    canaries, password = Canaries(), f"a password of {fresh_name()}"
    name = fresh_name()
    for what, text in {"the key": key, "a password": password, "the new password": NEW_PASSWORD, "a name": name}.items():
        canaries.add(what, text)
    client.send_json("/register", {"username": name, "password": password}, idempotency_key=key)
    pair = client.log_in(name, password)
    somebody = Somebody(name, pair["access_token"], pair["refresh_token"])
    for reply in [change_password(client, somebody, key, current=password) for _ in range(2)]:
        canaries.add("an access token", reply.json["access_token"])
        canaries.add("a refresh token", reply.json["refresh_token"])
    kept = rows(shared_node.dsn, "SELECT key_mac, request_mac, idempotency_keys::text AS written FROM idempotency_keys")
    assert len(kept) >= 2
    assert {len(mac) for row in kept for mac in (row["key_mac"], row["request_mac"])} == {32}
    for row in kept:
        assert canaries.found_in(row["written"].encode() + row["key_mac"] + row["request_mac"]) == []
    del canaries.texts[name]  # of a name alone the log may tell nothing either, but that is test_secrets.py's
    assert canaries.found_in(shared_node.log_file.read_bytes()) == []


def test_the_document_tells_of_the_header(client: Client, key: str) -> None:
    paths = client.get("/openapi.json").json["paths"]
    for path in ("/register", "/login", "/me/password"):
        (header,) = [each for each in paths[path]["post"]["parameters"] if each["name"] == "Idempotency-Key"]
        assert re.search(header["schema"]["pattern"], key)
        assert "422" in paths[path]["post"]["responses"]
