"""GET /me is remembered by each process, and never shows what a change has made untrue."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import asyncpg
import pytest

from tests.support.lines import Line, api_processes, open_lines
from tests.support.nodes import Node, running_node
from tests.support.own_nodes import own_node
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

PROCESSES = 3
CHANGES = 50


@pytest.fixture(scope="module")
def node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    with own_node(postgres, API_PROCESSES=str(PROCESSES)) as node:
        yield node


@contextmanager
def a_line_to_each_process(node: Node) -> Iterator[list[Line]]:
    with open_lines(node) as lines:
        assert {line.pid for line in lines} == set(api_processes(node))
        yield lines


def full_name(line: Line, token: str) -> str:
    answer = line.get("/me", token=token)
    assert answer.status == 200
    return str(answer.json["full_name"])


def execute(dsn: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def rename(line: Line, token: str, name: str) -> None:
    line.connection.request(
        "PATCH",
        "/me",
        body=f'{{"full_name":"{name}"}}',
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    assert line.answer().status == 200


def test_a_change_is_seen_at_once_through_every_process(node: Node) -> None:
    with node.client() as client, a_line_to_each_process(node) as lines:
        token = client.somebody().access_token
        for change in range(CHANGES):
            for line in lines:  # so that every process remembers the one before
                full_name(line, token)
            rename(lines[change % PROCESSES], token, f"Name {change}")
            assert [full_name(line, token) for line in lines] == [f"Name {change}"] * PROCESSES


def test_a_profile_is_read_from_the_database_once(node: Node) -> None:
    """The database is changed behind everybody's back, even the trigger's: it can only show where it is asked."""
    with node.client() as client, a_line_to_each_process(node) as lines:
        token = client.somebody().access_token
        user_id = UUID(str(lines[0].get("/me", token=token).json["userid"]))

        def is_remembered() -> bool:
            rename(lines[0], token, "Before")
            assert full_name(lines[0], token) == "Before"
            execute(node.dsn, "UPDATE users SET full_name = 'After' WHERE userid = $1", user_id)
            return full_name(lines[0], token) == "Before"

        execute(node.dsn, "ALTER TABLE users DISABLE TRIGGER users_note_changed")
        try:
            # Again, for a process that has just begun to hear of changes forgets what it knew.
            until(is_remembered, "it is read each time")
        finally:
            execute(node.dsn, "ALTER TABLE users ENABLE ALWAYS TRIGGER users_note_changed")
        until(lambda: full_name(lines[0], token) == "After", "what was changed untold is never seen")


def test_what_is_changed_by_hand_is_seen_too(node: Node) -> None:
    with node.client() as client, a_line_to_each_process(node) as lines:
        token = client.somebody().access_token
        for line in lines:  # so that every process remembers it
            full_name(line, token)
        user_id = UUID(str(lines[0].get("/me", token=token).json["userid"]))
        execute(node.dsn, "UPDATE users SET full_name = 'By hand' WHERE userid = $1", user_id)
        until(lambda: {full_name(line, token) for line in lines} == {"By hand"}, "it is never seen")


def test_a_change_on_another_node_is_seen(node: Node, tmp_path_factory: pytest.TempPathFactory) -> None:
    shared = {name: node.environment[f"TIDEGATE_{name}"] for name in ("SIGNING_KEYS_FILE", "REFRESH_MAC_KEY")}
    folder = tmp_path_factory.mktemp("other-node")
    with (
        running_node(node.dsn, folder, **shared, ISSUER=f"http://127.0.0.1:{node.port}") as other,
        node.client() as client,
        a_line_to_each_process(node) as here,
        open_lines(other) as there,
    ):
        token = client.somebody().access_token
        for line in [*here, *there]:
            full_name(line, token)
        rename(there[0], token, "Elsewhere")
        assert full_name(there[0], token) == "Elsewhere"
        until(lambda: {full_name(line, token) for line in here} == {"Elsewhere"}, "the other node's change is never seen")
