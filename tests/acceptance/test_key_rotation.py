"""Keys are replaced while everybody logs in, refreshes and asks, and no token ever fails for it (DESIGN 5.4)."""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet

from tests.support.client import PASSWORD, Client
from tests.support.databases import drop_database, make_migrated_database
from tests.support.lines import open_lines
from tests.support.nodes import Node, running_node
from tests.support.seeds import seeded
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.tokens.keys import rotate

LEAD_S = 3
"""Sixty times the reload interval below: a process that stands still for so long is beyond what a rotation promises."""

KEEP_S = 60
VISITORS = 4
LOGIN_SHARE = 0.1


@pytest.fixture(scope="module")
def nodes(postgres: EmbeddedPostgres) -> Iterator[list[Node]]:
    """Two nodes that share a database, the keys and the name under which they issue."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-node-"))
    name = make_migrated_database(postgres)
    quick = {"KEY_RELOAD_INTERVAL_MS": "50", "ISSUER": "https://login.example"}
    try:
        with running_node(postgres.dsn(name), folder, **quick) as first:
            shared = {"REFRESH_MAC_KEY": first.environment["TIDEGATE_REFRESH_MAC_KEY"]}
            with running_node(postgres.dsn(name), folder, **quick, **shared) as second:
                yield [first, second]
    finally:
        drop_database(postgres, name)
        shutil.rmtree(folder, ignore_errors=True)


def key_id(access_token: str) -> str:
    header = access_token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


def published(client: Client) -> Any:
    return client.get("/.well-known/jwks.json").json


def ids_of(keys: Any) -> set[str]:
    return {key["kid"] for key in keys["keys"]}


@dataclass
class Visitor:
    """One who goes from node to node, logs in, refreshes and asks, and notes what went wrong.

    Attributes:
        witnessed: Each access token, and the keys that the node which did *not* issue it had published before.
        failures: What was not answered as it should be.
    """

    nodes: list[Node]
    chance: Random
    witnessed: list[tuple[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def visit_until(self, over: Event) -> None:
        try:
            self._visit(over)
        except Exception as error:
            self.failures.append(repr(error))

    def _visit(self, over: Event) -> None:
        clients = [node.client() for node in self.nodes]
        username = clients[0].register()
        pair = clients[0].log_in(username)
        while not over.is_set():
            issuing, other = self.chance.sample(clients, 2)
            keys = published(other)
            if self.chance.random() < LOGIN_SHARE:
                reply = issuing.form("/login", {"username": username, "password": PASSWORD})
            else:
                reply = issuing.form("/refresh", {"refresh_token": pair["refresh_token"]})
            self._expect(reply.status, "a pair")
            pair = reply.json
            self.witnessed.append((pair["access_token"], keys))
            for token, _ in (self.witnessed[-1], self.chance.choice(self.witnessed)):
                self._expect(issuing.get("/me", token=token).status, "a token where it was issued, or some earlier one")
                self._expect(other.get("/me", token=token).status, "a token at the other node, or some earlier one")
        for client in clients:
            client.close()

    def _expect(self, status: int, what: str) -> None:
        if status != 200:
            self.failures.append(f"{what}: {status}")

    def newest_key(self) -> str | None:
        return key_id(self.witnessed[-1][0]) if self.witnessed else None


def test_no_token_fails_through_two_rotations_under_load(nodes: list[Node]) -> None:
    """A key is published by every node before any token carries it, and the old ones verify on."""
    chance = seeded("two rotations")
    visitors = [Visitor(nodes, Random(chance.random())) for _ in range(VISITORS)]
    over = Event()
    threads = [Thread(target=visitor.visit_until, args=(over,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(visitor.witnessed or visitor.failures for visitor in visitors), "nobody was served")
        for _ in range(2):
            (new,) = [key.kid for key in rotate(nodes[0].keys_file, lead_s=LEAD_S, keep_s=KEEP_S) if key.state == "waiting"]
            until(
                lambda: all(visitor.newest_key() == new or visitor.failures for visitor in visitors),  # noqa: B023 - now
                "the new key does not sign",
            )
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert [visitor.failures for visitor in visitors] == [[]] * VISITORS
    witnessed = [each for visitor in visitors for each in visitor.witnessed]
    assert len({key_id(token) for token, _ in witnessed}) == 3
    assert all(key_id(token) in ids_of(keys) for token, keys in witnessed)
    verify_with_another_library(witnessed)
    for node in nodes:
        client = node.client()
        assert {client.get("/me", token=token).status for token, _ in witnessed[:1]} == {200}
        client.close()


def verify_with_another_library(witnessed: list[tuple[str, Any]]) -> None:
    """Verify each token with the keys that were published before it was issued."""
    with pytest.warns(SecurityWarning, match="RFC 9864"):  # whose new name for EdDSA few verifiers know yet
        verified = [jwt.decode(token, KeySet.import_key_set(keys), algorithms=["EdDSA"]) for token, keys in witnessed]
    assert {each.claims["iss"] for each in verified} == {"https://login.example"}


def test_the_command_publishes_a_key_on_every_node_and_signs_with_the_old_one(nodes: list[Node]) -> None:
    clients = [node.client() for node in nodes]
    username = clients[0].register()
    before = [ids_of(published(client)) for client in clients]
    done = nodes[0].command("keys", "rotate")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if " waiting " in line]
    new = line.split()[0]
    for client, ids in zip(clients, before, strict=True):
        assert new not in ids
        until(lambda: new in ids_of(published(client)), "the key is not published")  # noqa: B023 - asked at once
        assert key_id(client.log_in(username)["access_token"]) in ids
        client.close()


def test_stolen_keys_are_replaced_at_once_and_a_refresh_is_all_it_costs(nodes: list[Node]) -> None:
    """Every access token ends, on every process, as soon as the file is read again; no session does."""
    clients = [node.client() for node in nodes]
    pair = clients[0].somebody()
    stolen = ids_of(published(clients[0]))
    done = nodes[0].command("keys", "rotate", "--at-once")
    assert done.returncode == 0, done.stderr
    for node in nodes:
        with open_lines(node) as lines:
            for line in lines:
                until(lambda: line.get("/me", token=pair.access_token).status == 401, "a stolen key is trusted")  # noqa: B023 - asked at once
    refreshed = clients[1].form("/refresh", {"refresh_token": pair.refresh_token}).json
    assert {client.get("/me", token=refreshed["access_token"]).status for client in clients} == {200}
    assert all(not stolen & ids_of(published(client)) for client in clients)
    for client in clients:
        client.close()
