"""Requests with one Idempotency-Key race over two nodes that are killed: each happens once, and all hear it (ADR 0019)."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from threading import Barrier
from typing import Final
from uuid import uuid4

import asyncpg
import pytest

from tests.support.client import JSON, PASSWORD, Client, Reply, fresh_name, unverified_claims
from tests.support.lines import Line, api_processes, open_lines
from tests.support.nodes import Node
from tests.support.own_nodes import two_own_nodes
from tests.support.seeds import seeded
from tests.support.tables import rows, value
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

CLIENTS: Final = 64
NEW_PASSWORD: Final = "another horse, another battery"
SUCCESS: Final = (200, b'{"code":"200","message":"success"}')
KILLS: Final = 6
"""As many processes does the dying node have: who dies again and again is started again later and later."""

GATE: Final = 4711
"""An advisory lock: while a test holds it, whoever comes to the place that a trigger guards stands there."""

GATES: Final = {
    "with the key stored and the user not": ("gate-before", "CREATE TRIGGER gate_before BEFORE INSERT ON users"),
    "with the user stored": ("gate-after", "CREATE TRIGGER gate_after AFTER INSERT ON users"),
    "in its commit": (
        "gate-commit",
        "CREATE CONSTRAINT TRIGGER gate_commit AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED",
    ),
}
"""By what has happened at the gate: how the usernames begin that have to stop there, and how its trigger begins."""

GATE_FUNCTION: Final = f"""
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF starts_with(NEW.username, TG_ARGV[0]) THEN
        PERFORM pg_advisory_xact_lock_shared({GATE});
    END IF;
    RETURN NEW;
END $$
"""


BOTH_OR_NEITHER: Final = """
SELECT (SELECT count(*) FROM users WHERE username = $1)
     = (SELECT count(*) FROM idempotency_keys JOIN users ON userid = made WHERE username = $1)
   AND NOT EXISTS (SELECT FROM idempotency_keys LEFT JOIN users ON userid = made
                   LEFT JOIN sessions ON session_id = made WHERE userid IS NULL AND session_id IS NULL)
"""
"""For one user, and no key of something that does not exist."""


@pytest.fixture(scope="module")
def nodes(postgres: EmbeddedPostgres) -> Iterator[tuple[Node, Node]]:
    """Two nodes that are patient with the database: who waits for a key waits for as long as a test holds its gate."""
    with two_own_nodes(
        postgres, HASH_WAIT_MS_MAX="20000", REQUEST_DEADLINE_MS="30000", DATABASE_STATEMENT_TIMEOUT_MS="20000"
    ) as nodes:
        rows(nodes[0].dsn, GATE_FUNCTION)
        for stem, trigger in GATES.values():
            rows(nodes[0].dsn, f"{trigger} FOR EACH ROW EXECUTE FUNCTION gate('{stem}')")
        yield nodes


def all_at_once(ask: Callable[[int], Reply]) -> list[Reply]:
    """What `CLIENTS` hear who ask at the same moment."""
    ready = Barrier(CLIENTS)

    def ask_with_the_others(number: int) -> Reply:
        ready.wait(60)
        return ask(number)

    with ThreadPoolExecutor(CLIENTS) as threads:
        return list(threads.map(ask_with_the_others, range(CLIENTS)))


def register(node: Node, name: str, key: str, password: str = PASSWORD) -> Reply:
    with node.client() as client:
        return client.send_json("/register", {"username": name, "password": password}, idempotency_key=key)


def users_named(node: Node, name: str) -> int:
    return int(value(node.dsn, "SELECT count(*) FROM users WHERE username = $1", name))


def keys_of(node: Node, name: str) -> int:
    statement = "SELECT count(*) FROM idempotency_keys JOIN users ON userid = made WHERE username = $1"
    return int(value(node.dsn, statement, name))


def test_sixty_four_racing_registrations_with_one_key_make_one_user(nodes: tuple[Node, Node]) -> None:
    name, key = fresh_name(), str(uuid4())
    replies = all_at_once(lambda number: register(nodes[number % 2], name, key))
    assert {(reply.status, reply.body) for reply in replies} == {SUCCESS}
    assert (users_named(nodes[0], name), keys_of(nodes[0], name)) == (1, 1)
    with nodes[1].client() as client:
        client.log_in(name)


def test_of_racing_requests_that_differ_one_happens_and_the_others_hear_422(nodes: tuple[Node, Node]) -> None:
    names, key = [fresh_name() for _ in range(CLIENTS)], str(uuid4())
    replies = all_at_once(lambda number: register(nodes[number % 2], names[number], key))
    assert sorted(reply.status for reply in replies) == [200] + [422] * (CLIENTS - 1)
    assert [users_named(nodes[0], name) for name, reply in zip(names, replies, strict=True) if reply.status == 200] == [1]
    assert sum(users_named(nodes[0], name) for name in names) == 1


def test_racing_changes_of_password_with_one_key_all_go_on_in_one_session(nodes: tuple[Node, Node]) -> None:
    """Though the first of them ends the session that all of them ask in, and the password that all of them name."""
    key = str(uuid4())
    with nodes[0].client() as client:
        somebody = client.somebody()
        fields = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}

        def change(number: int) -> Reply:
            with nodes[number % 2].client() as caller:
                return caller.form("/me/password", fields, token=somebody.access_token, idempotency_key=key)

        replies = all_at_once(change)
        assert {reply.status for reply in replies} == {200}
        assert len({reply.json["refresh_token"] for reply in replies}) == 1
        assert len({unverified_claims(reply.json["access_token"])["sid"] for reply in replies}) == 1
        assert client.get("/me", token=replies[-1].json["access_token"]).status == 200
        assert client.form("/refresh", {"refresh_token": replies[0].json["refresh_token"]}).status == 200
        assert client.form("/login", {"username": somebody.username, "password": PASSWORD}).status == 403
        client.log_in(somebody.username, NEW_PASSWORD)


def kill_api_process(node: Node) -> None:
    """End it as a machine does that fails, and wait until another has taken its place and serves."""
    (pid,) = api_processes(node)
    os.kill(pid, signal.SIGKILL)
    until(lambda: api_processes(node) not in ([], [pid]), "nobody started it again")

    def is_ready() -> bool:
        with suppress(OSError, HTTPException), Client(node.port) as client:
            return client.get("/health/ready").status == 200
        return False

    until(is_ready, "it does not serve again")


@contextmanager
def closed_gate(dsn: str) -> Iterator[Callable[[], None]]:
    """The gate is shut; what is given waits until somebody stands there. It opens at the end of the block."""
    with asyncio.Runner() as runner:
        holder: asyncpg.Connection[asyncpg.Record] = runner.run(asyncpg.connect(dsn))
        runner.run(holder.execute(f"SELECT pg_advisory_lock({GATE})"))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1::bigint::oid AND NOT granted"

        def await_somebody() -> None:
            until(lambda: bool(runner.run(holder.fetchval(waiting, GATE))), "nobody came to the gate")

        try:
            yield await_somebody
        finally:
            runner.run(holder.close())


@pytest.mark.parametrize("moment", GATES)
def test_a_node_killed_at_a_gate_leaves_user_and_key_or_neither(nodes: tuple[Node, Node], moment: str) -> None:
    """Its client asks the other node again, which waits for what is left of the first and then answers success."""
    dying, other = nodes
    name, key = fresh_name(GATES[moment][0]), str(uuid4())
    with ThreadPoolExecutor(2) as threads:
        with closed_gate(dying.dsn) as await_somebody:
            lost = threads.submit(send_and_lose, dying, name, key)
            await_somebody()
            kill_api_process(dying)
            again = threads.submit(register, other, name, key)
            until(lambda: is_waiting_for_the_key(other), "the other node does not wait for the first")
        assert lost.result(60)
        repeated = again.result(60)
    assert (repeated.status, repeated.body) == SUCCESS
    assert (users_named(other, name), keys_of(other, name)) == (1, 1)
    assert register(dying, name, key).status == 200
    assert register(dying, name, key, password=NEW_PASSWORD).status == 422
    with other.client() as client:
        client.log_in(name)


def send_and_lose(node: Node, name: str, key: str) -> bool:
    """Register once, without asking again; whether the connection ended before an answer came."""
    connection = HTTPConnection("127.0.0.1", node.port, timeout=60)
    body = json.dumps({"username": name, "password": PASSWORD})
    try:
        connection.request("POST", "/register", body, {"Content-Type": JSON, "Idempotency-Key": key})
        connection.getresponse().read()
    except (OSError, HTTPException):
        return True
    finally:
        connection.close()
    return False


def is_waiting_for_the_key(node: Node) -> bool:
    statement = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND wait_event <> 'advisory' AND query LIKE '%idempotency_keys%'"
    )
    return bool(value(node.dsn, statement))


def test_a_node_killed_at_any_moment_leaves_user_and_key_or_neither(postgres: EmbeddedPostgres) -> None:
    chance = seeded("a kill")
    with (
        two_own_nodes(postgres, processes=(KILLS, 1), DATABASE_CONNECTIONS="2") as (dying, other),
        open_lines(dying) as lines,
    ):
        outcomes = [ask_and_kill(line, other, str(uuid4()), chance.uniform(0, 0.04)) for line in lines]
    print(f"(answered, stored) at each kill: {outcomes}")


def ask_and_kill(line: Line, other: Node, key: str, after_s: float) -> tuple[bool, bool]:
    """Register on *line*, kill the process at its end *after_s* later, and ask *other* again.

    Returns:
        Whether the first was answered, and whether it was stored.
    """
    name = fresh_name()
    body = json.dumps({"username": name, "password": PASSWORD})
    line.connection.request("POST", "/register", body, {"Content-Type": JSON, "Idempotency-Key": key})
    time.sleep(after_s)  # chance, not patience: where the kill falls
    os.kill(line.pid, signal.SIGKILL)
    is_answered = False
    with suppress(OSError, HTTPException):
        reply = line.answer()
        assert (reply.status, reply.body) == SUCCESS
        is_answered = True

    assert value(other.dsn, BOTH_OR_NEITHER, name)
    is_stored = users_named(other, name) == 1
    assert is_stored or not is_answered
    repeated = register(other, name, key)
    assert (repeated.status, repeated.body) == SUCCESS
    assert (users_named(other, name), keys_of(other, name)) == (1, 1)
    with other.client() as client:
        client.log_in(name)
    return is_answered, is_stored
