"""Nobody who is registered is told 404 (promise P2), whoever registered them and whatever the existence filter knows."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.support.client import PASSWORD, Client, fresh_name
from tests.support.commands import processes_of
from tests.support.databases import drop_database, make_migrated_database
from tests.support.nodes import Node, running_node
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

WRONG = "a wrong password"


@pytest.fixture(scope="module")
def deciding_node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    """One that decides alone, for the tests in which nobody else adds users."""
    name = make_migrated_database(postgres)
    made = Path(tempfile.mkdtemp(prefix="tidegate-node-"))
    try:
        with alone(postgres.dsn(name), made) as node:
            await_deciding(node)
            yield node
    finally:
        drop_database(postgres, name)
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-node-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def alone(dsn: str, folder: Path) -> contextlib.AbstractContextManager[Node]:
    """A node of two API processes that decides alone where it may."""
    folder.mkdir(exist_ok=True)
    return running_node(dsn, folder, API_PROCESSES="2", EXISTENCE_FILTER="alone")


def metric(node: Node, name: str) -> float:
    with Client(node.metrics_port) as metrics:
        found = re.search(rf"^{name} (\S+)$", metrics.get("/metrics").body.decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def await_deciding(node: Node) -> None:
    until(lambda: metric(node, "tidegate_existence_decides_alone") == 1.0, "the filter does not decide alone")


def statuses(node: Node, username: str, password: str = WRONG, *, connections: int = 6) -> set[int]:
    """What several connections are told; the kernel gives each to some process of the node."""

    def ask() -> int:
        with node.client() as client:
            return client.form("/login", {"username": username, "password": password}).status

    return {ask() for _ in range(connections)}


def run_sql(dsn: str, statement: str, *values: object) -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    return asyncio.run(run())


def add_by_sql(dsn: str, name: str) -> None:
    run_sql(dsn, "INSERT INTO users (userid, username, password) VALUES ($1, $2, 'no hash at all')", uuid4(), name)


def processes(node: Node, *words: str) -> Sequence[int]:
    """The node's processes whose command line has all of *words*."""
    found = []
    for pid in processes_of(node.folder):
        with contextlib.suppress(OSError):
            said = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if set(words) <= set(said):
                found.append(pid)
    return found


def test_whoever_registers_in_one_process_logs_in_in_every_other_at_once(deciding_node: Node) -> None:
    for _ in range(10):
        name = fresh_name()
        assert statuses(deciding_node, name) == {404}
        with deciding_node.client() as client:
            client.register(name)
        assert statuses(deciding_node, name) == {403}
    assert metric(deciding_node, "tidegate_existence_decides_alone") == 1.0


def test_an_unknown_user_costs_the_database_nothing_while_the_node_decides_alone(deciding_node: Node) -> None:
    counted = r'tidegate_existence_spared_lookups_total\{route="log_in"\}'
    asked = metric(deciding_node, counted)
    assert statuses(deciding_node, fresh_name(), connections=10) == {404}
    until(lambda: metric(deciding_node, counted) >= asked + 10, "the database was asked")


def test_whoever_is_deleted_is_unknown_and_may_register_again(deciding_node: Node) -> None:
    for _ in range(2):
        with deciding_node.client() as client:
            name = client.register()
            assert deciding_node.command("users", "delete", name, "--yes").returncode == 0
            assert statuses(deciding_node, name) == {404}
            client.register(name)
            assert statuses(deciding_node, name, PASSWORD) == {200}


@pytest.mark.parametrize("mode", ["alone", "confirm", "off"])
def test_whoever_is_added_by_sql_or_by_command_logs_in_at_once(database: str, folder: Path, mode: str) -> None:
    with running_node(database, folder, API_PROCESSES="2", EXISTENCE_FILTER=mode) as node:
        if mode == "alone":
            await_deciding(node)
        for _ in range(3):
            name = fresh_name()
            assert statuses(node, name) == {404}
            add_by_sql(database, name)
            assert statuses(node, name) == {403}
        name = fresh_name()
        assert statuses(node, name) == {404}
        assert node.command("users", "add", "--username", name, "--password-stdin", text=PASSWORD).returncode == 0
        assert statuses(node, name, PASSWORD) == {200}
        if mode == "alone":
            await_deciding(node)
            assert statuses(node, name, PASSWORD) == {200}


def test_a_restart_forgets_nobody(database: str, folder: Path) -> None:
    with alone(database, folder) as node, node.client() as client:
        await_deciding(node)
        names = [client.register() for _ in range(3)]
    add_by_sql(database, "added-between-two-starts")
    with alone(database, folder) as node:
        for name in [*names, "added-between-two-starts"]:
            assert statuses(node, name) == {403}
        await_deciding(node)
        for name in [*names, "added-between-two-starts"]:
            assert statuses(node, name) == {403}
        assert statuses(node, fresh_name()) == {404}


def test_a_node_that_was_killed_forgets_nobody(database: str, folder: Path) -> None:
    """Its lease is still in the database, and nobody can give it up."""
    with alone(database, folder) as node, node.client() as client:
        await_deciding(node)
        name = client.register()
        for pid in [node.process.pid, *processes_of(folder)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.process.wait()
    add_by_sql(database, "added-after-the-kill")
    with alone(database, folder) as node:
        assert statuses(node, name) == {403}
        await_deciding(node)
        assert statuses(node, name) == statuses(node, "added-after-the-kill") == {403}


def test_a_process_that_was_killed_is_started_again_and_the_filter_stays(database: str, folder: Path) -> None:
    with alone(database, folder) as node:
        await_deciding(node)
        with node.client() as client:
            names = [client.register() for _ in range(3)]
        for command in ("existence-process", "api-process"):
            (killed, *_others) = processes(node, command)
            os.kill(killed, signal.SIGKILL)
            add_by_sql(database, name := fresh_name())
            names.append(name)
            until(lambda: len(processes(node, "api-process")) == 2, "it is not started again")
            await_deciding(node)
            for name in names:
                assert statuses(node, name) == {403}


def test_a_keeper_that_is_stopped_holds_nobody_up_for_long(database: str, folder: Path) -> None:
    """It cannot give way; its lease lapses."""
    with alone(database, folder) as node:
        await_deciding(node)
        (keeper,) = processes(node, "existence-process")
        os.kill(keeper, signal.SIGSTOP)
        try:
            add_by_sql(database, name := fresh_name())
            assert statuses(node, name) == {403}
            with node.client() as client:
                other = client.register()
            assert statuses(node, other) == {403}
        finally:
            os.kill(keeper, signal.SIGCONT)
        await_deciding(node)
        assert statuses(node, name) == statuses(node, other) == {403}


def test_two_nodes_that_would_both_decide_alone_deny_nobody(database: str, folder: Path) -> None:
    with alone(database, folder / "one") as one:
        await_deciding(one)
        with alone(database, folder / "two") as two:
            for here, there in [(one, two), (two, one)] * 3:
                with here.client() as client:
                    name = client.register()
                assert statuses(there, name) == statuses(here, name) == {403}
        await_deciding(one)


def test_a_storm_of_registrations_and_logins_denies_nobody(database: str, folder: Path) -> None:
    """Through the API, and by SQL in between, which takes the lease away again and again."""

    def come(number: int) -> tuple[set[int], set[int]]:
        name = fresh_name()
        if number % 12 == 7:
            add_by_sql(database, name)
        else:
            with node.client() as client:
                client.register(name)
        return statuses(node, name, connections=2), statuses(node, fresh_name(), connections=2)

    with alone(database, folder) as node:
        await_deciding(node)
        with ThreadPoolExecutor(8) as crowd:
            assert list(crowd.map(come, range(60))) == [({403}, {404})] * 60
        await_deciding(node)
        spared = r'tidegate_existence_spared_lookups_total\{route="log_in"\}'
        before = metric(node, spared)
        assert statuses(node, fresh_name(), connections=2) == {404}
        until(lambda: metric(node, spared) > before, "the filter decides no more")


def test_a_lost_connection_of_the_keeper_denies_nobody(database: str, folder: Path) -> None:
    with alone(database, folder) as node:
        await_deciding(node)
        run_sql(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND classid = 1952933240 AND objid = 3",
        )
        for _ in range(3):
            add_by_sql(database, name := fresh_name())
            assert statuses(node, name) == {403}
        await_deciding(node)
        assert statuses(node, name) == {403}


def test_without_the_filter_there_is_no_process_for_it(database: str, folder: Path) -> None:
    with running_node(database, folder, EXISTENCE_FILTER="off") as node:
        assert processes(node, "existence-process") == []
        assert processes(node, "api-process") != []
