"""What logins and dead sessions leave behind is done by the worker, whenever there is one."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.support.client import Client, Person
from tests.support.nodes import Node, running_worker
from tests.support.own_nodes import own_node
from tests.support.tables import change, rows, value
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
def node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    """Without a worker."""
    with own_node(postgres) as node:
        yield node


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with node.client() as client:
        yield client


@pytest.fixture
def person(client: Client) -> Person:
    return client.person()


def jobs(node: Node) -> int:
    return int(value(node.dsn, "SELECT count(*) FROM jobs"))


def opened_at(node: Node, person: Person) -> datetime:
    at = value(node.dsn, "SELECT created_at FROM sessions WHERE session_id = $1::text::uuid", person.session_id)
    assert isinstance(at, datetime)
    return at


def last_login(client: Client, person: Person) -> datetime | None:
    told = client.get("/me", token=person.access_token).json["last_login"]
    return None if told is None else datetime.fromisoformat(told)


def test_a_login_waits_for_no_worker_and_is_recorded_when_one_comes(node: Node, client: Client, person: Person) -> None:
    """To the microsecond when its session was opened, by the database's clock, in UTC."""
    assert last_login(client, person) is None
    assert jobs(node) >= 1
    with running_worker(node):
        until(lambda: jobs(node) == 0, "the jobs are not done")
    # A profile that is remembered tells what the worker writes some seconds late (ADR 0016).
    until(lambda: last_login(client, person) is not None, "the login never shows")
    told = last_login(client, person)
    assert told == opened_at(node, person)
    assert told is not None
    assert told.tzinfo is not None
    stored = value(node.dsn, "SELECT last_login FROM users WHERE userid = $1::text::uuid", person.user_id)
    assert stored.replace(tzinfo=UTC) == told


def test_the_latest_login_stands_whichever_of_two_workers_comes_last(node: Node, client: Client, person: Person) -> None:
    late = (
        "INSERT INTO jobs (kind, user_id, created_at)"
        " VALUES ('login_succeeded', $1::text::uuid, now() - $2 * interval '1 day')"
    )
    with running_worker(node), running_worker(node):
        until(lambda: jobs(node) == 0, "the jobs are not done")
        for days in (1, 7, 2):
            assert change(node.dsn, late, person.user_id, days) == 1
        until(lambda: jobs(node) == 0, "the late jobs are not done")
    until(lambda: last_login(client, person) == opened_at(node, person), "the login never shows")


def test_dead_sessions_leave_and_all_others_stay(node: Node, client: Client, person: Person) -> None:
    """More than one batch of them; a revoked one stays until no access token of it can be about."""
    dead = (
        "INSERT INTO sessions (session_id, user_id, idle_expires_at, absolute_expires_at, cleanup_due_at)"
        " SELECT gen_random_uuid(), $1::text::uuid, at, at, at FROM generate_series(1, 2500),"
        " LATERAL (SELECT now() - interval '1 day' AS at) AS death"
    )
    assert change(node.dsn, dead, person.user_id) == 2500
    revoked = client.log_in(person.username)
    assert client.form("/logout", token=revoked["access_token"]).status == 200
    with running_worker(node):
        until(lambda: live_and_dead(node, person) == (1, 1), "the dead ones are still there")
    assert client.get("/me", token=person.access_token).status == 200
    assert client.get("/me", token=revoked["access_token"]).status == 401


def live_and_dead(node: Node, person: Person) -> tuple[int, int]:
    """How many sessions of the person are live, and how many are not."""
    statement = "SELECT revoked_at IS NULL AND idle_expires_at > now() FROM sessions WHERE user_id = $1::text::uuid"
    is_live = [row[0] for row in rows(node.dsn, statement, person.user_id)]
    return is_live.count(True), is_live.count(False)
