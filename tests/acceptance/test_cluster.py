"""`tidegate cluster`: many nodes are one Tidegate, whatever is done to its parts, and nothing is left when it ends."""

import contextlib
import fcntl
import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import PASSWORD, Client
from tests.support.clusters import RunningCluster, free_port_of_a_cluster, running_cluster
from tests.support.commands import await_gone, environment_with, made_folder, processes_of, tidegate
from tidegate.cluster.control import Request, ask

WITHIN_S = 90.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with made_folder() as made:
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    """One that the tests share; each leaves it as whole as it found it."""
    with made_folder() as folder, running_cluster(folder / "data", "--replicas", "1") as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _mended(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "cluster" in request.fixturenames:
        cluster: RunningCluster = request.getfixturevalue("cluster")
        ask(cluster.folder, Request("resume"), timeout_s=WITHIN_S)
        until(lambda: serves(cluster), "it does not come back")


def until(is_so: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.05)


def lets_in(client: Client, name: str) -> bool:
    with client, contextlib.suppress(OSError, http.client.HTTPException):
        return client.form("/login", {"username": name, "password": PASSWORD}).status == 200
    return False


def serves(cluster: RunningCluster) -> bool:
    """Whether every node, and the balancer, would serve a login now."""
    for client in (cluster.node(1), cluster.node(2), cluster.front()):
        with client, contextlib.suppress(OSError, http.client.HTTPException):
            if client.get("/health/ready").status == 200:
                continue
        return False
    return True


def names_of(cluster: RunningCluster) -> list[str]:
    return [part["name"] for part in cluster.status()["parts"]]


def test_every_part_runs_and_says_so(cluster: RunningCluster) -> None:
    until(lambda: {part["state"] for part in cluster.status()["parts"]} == {"up"}, "not all parts are up")
    parts = {part["name"]: part for part in json.loads(cluster.ask("status", "--json").stdout)["parts"]}
    assert list(parts) == ["postgres", "replica-1", "valkey", "nats", "worker-1", "api-1", "api-2", "haproxy"]
    for part in parts.values():
        assert Path(f"/proc/{part['pid']}").exists()
        assert Path(part["log"]).exists()
    table = cluster.ask("status").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["part", *parts]


def test_the_nodes_are_one_tidegate(cluster: RunningCluster) -> None:
    """Who registers at one logs in at the other, and its token is good at the third: the same keys, the same name."""
    with cluster.front() as front, cluster.node(1) as first, cluster.node(2) as second:
        name = front.register()
        token = first.log_in(name)["access_token"]
        assert second.get("/me", token=token).json["username"] == name
        assert front.get("/me", token=token).json["username"] == name


def test_the_lines_that_it_prints_do_what_they_say(cluster: RunningCluster) -> None:
    lines = re.findall(r"^  (curl .*)$", cluster.said(), re.MULTILINE)
    assert len(lines) == 3
    assert all(cluster.status()["url"] in line for line in lines)


def test_what_settings_prints_is_what_the_node_was_told(cluster: RunningCluster) -> None:
    printed = dict(line.split("=", 1) for line in cluster.ask("settings", "api-1").stdout.splitlines())
    environment = Path(f"/proc/{cluster.part('api-1')['pid']}/environ").read_bytes().decode().split("\0")
    told = dict(line.split("=", 1) for line in environment if line.startswith("TIDEGATE_"))
    assert set(printed) == set(told)
    assert {name: text for name, text in printed.items() if "…" not in text} == {
        name: f"'{told[name]}'" for name, text in printed.items() if "…" not in text
    }
    assert printed["TIDEGATE_TRUSTED_HOPS"] == "'1'"


def test_a_command_beside_it_needs_no_environment(cluster: RunningCluster) -> None:
    with cluster.node(1) as client:
        name = client.register()
    assert f"username: {name}\n" in tidegate("users", "show", name, "--data-dir", cluster.folder).stdout


@pytest.mark.parametrize("alias", ["cache", "api-1", pytest.param("database", marks=pytest.mark.full)])
def test_what_is_killed_is_started_again(cluster: RunningCluster, alias: str) -> None:
    with cluster.node(2) as client:
        name = client.register()
    part = {"cache": "valkey", "database": "postgres"}.get(alias, alias)
    before = cluster.part(part)
    killed = cluster.ask("kill", alias)
    assert re.fullmatch(rf"{part}: \d+ process(es)? killed; it is started again in [\d.]+ s\n", killed.stdout), (
        killed.stderr
    )
    until(lambda: is_back(cluster, part, before["pid"]), "it is not started again")
    assert cluster.part(part)["deaths"] == before["deaths"] + 1
    until(lambda: lets_in(cluster.node(1), name) and lets_in(cluster.node(2), name), "nobody is let in again")


def is_back(cluster: RunningCluster, part: str, before: int) -> bool:
    """Whether *part* runs as another process than *before*."""
    return cluster.part(part)["pid"] not in {None, before}


@pytest.mark.full
def test_each_part_in_its_turn_is_killed_and_comes_back(cluster: RunningCluster) -> None:
    with cluster.node(2) as client:
        name = client.register()
    for part in names_of(cluster):
        before = cluster.part(part)["pid"]
        assert cluster.ask("kill", part).returncode == 0
        until(partial(is_back, cluster, part, before), f"{part} is not started again")
        until(lambda: lets_in(cluster.front(), name), f"nobody is let in after the death of {part}")
        until(lambda: lets_in(cluster.node(1), name) and lets_in(cluster.node(2), name), f"a node lacks {part}")
    until(lambda: {part["state"] for part in cluster.status()["parts"]} == {"up"}, "not all parts are up")


def test_without_the_primary_nobody_is_let_in_until_it_is_resumed(cluster: RunningCluster) -> None:
    with cluster.node(1) as client:
        name = client.register()
    assert cluster.ask("pause", "postgres").returncode == 0
    assert cluster.part("postgres")["state"] == "paused"
    with cluster.node(1) as client:
        assert client.form("/login", {"username": name, "password": PASSWORD}).status == 503
    assert cluster.ask("resume", "postgres").stdout == "postgres: goes on\n"
    until(lambda: lets_in(cluster.node(1), name), "nobody is let in again")


@pytest.mark.parametrize("how", [(), pytest.param(("--refuse",), marks=pytest.mark.full)])
def test_without_the_cache_everybody_is_let_in(cluster: RunningCluster, how: tuple[str, ...]) -> None:
    with cluster.node(1) as client:
        name = client.register()
    assert cluster.ask("cut", "cache", *how).returncode == 0
    assert cluster.part("valkey")["state"] == "cut"
    assert lets_in(cluster.node(1), name)
    assert cluster.ask("resume").stdout == "valkey: goes on\n"
    assert cluster.ask("resume").stdout == "nothing is paused or cut\n"
    assert cluster.part("valkey")["state"] == "up"


@pytest.mark.full
def test_a_cut_line_to_the_primary_hangs_and_comes_back(cluster: RunningCluster) -> None:
    with cluster.node(1) as client:
        name = client.register()
    cluster.ask("cut", "primary")
    with cluster.node(1) as client:
        assert client.form("/login", {"username": name, "password": PASSWORD}).status == 503
    cluster.ask("resume", "primary")
    until(lambda: lets_in(cluster.node(1), name), "nobody is let in again")


@pytest.mark.full
def test_whoever_dies_while_another_starts_slowly_is_started_again_meanwhile(cluster: RunningCluster) -> None:
    """A replica asks its primary, and waits long for one that is frozen."""
    deaths = cluster.part("api-1")["deaths"]
    cluster.ask("pause", "postgres")
    cluster.ask("kill", "replica-1")
    until(lambda: cluster.part("replica-1")["state"] == "starting", "the replica is not started again")
    os.kill(cluster.part("api-1")["pid"], signal.SIGKILL)

    def is_back_before_the_replica() -> bool:
        parts = {part["name"]: part for part in cluster.status()["parts"]}
        assert parts["replica-1"]["state"] == "starting", "it did not take long, so this test has tried nothing"
        return bool(parts["api-1"]["deaths"] == deaths + 1 and parts["api-1"]["pid"] is not None)

    until(is_back_before_the_replica, "the node waits for the replica")


def test_a_part_that_cannot_go_on_keeps_no_other_from_it(cluster: RunningCluster) -> None:
    cluster.ask("pause", "replica-1", "--replay")
    cluster.ask("cut", "cache")
    replica = cluster.part("replica-1")["pid"]
    os.kill(replica, signal.SIGSTOP)  # by somebody else: we do not know of it, and cannot undo it
    ended = cluster.ask("resume")
    os.kill(replica, signal.SIGCONT)
    assert ended.returncode == 69
    assert "replica-1 does not do it" in ended.stderr
    assert not cluster.part("valkey")["is_cut"]
    assert cluster.ask("resume").stdout == "replica-1: goes on\n"


@pytest.mark.full
def test_a_frozen_node_is_frozen_whole(cluster: RunningCluster) -> None:
    cluster.ask("pause", "api-2")
    with Client(cluster.port + 2, timeout_s=0.5) as client, pytest.raises(TimeoutError):
        client.get("/health/live")
    assert cluster.ask("kill", "api-2").returncode == 0, "a frozen one can die, too"
    until(lambda: serves(cluster), "it is not started again")
    assert not cluster.part("api-2")["is_paused"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("kill", "api-9"), 64, "there is no part 'api-9'; there are postgres, "),
        (("cut", "api-1"), 64, "no line leads to api-1"),
        (("pause", "postgres", "--replay"), 64, "postgres replays nothing"),
        (("settings", "api-9"), 64, "no settings are known of 'api-9'; there are api-1, api-2, worker-1"),
        (("nonsense",), 64, "invalid choice: 'nonsense'"),
        (("up",), 75, "runs Tidegate in"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(
    cluster: RunningCluster, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = cluster.ask(*words)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("tidegate: ")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("status",), ("kill", "api-1"), ("down",)])
def test_where_no_cluster_runs_there_is_nothing_to_do(folder: Path, words: tuple[str, ...]) -> None:
    ended = tidegate("cluster", *words, "--data-dir", folder)
    assert ended.returncode == 69
    assert ended.stderr == (
        f"tidegate: no cluster runs in {folder}; start one with `tidegate cluster`, or name its folder with --data-dir\n"
    )


@pytest.mark.parametrize(
    "words", [("--nodes", "0"), ("--nodes", "99"), ("--workers", "x"), ("--port", "65000"), ("--port", "x")]
)
def test_what_cannot_be_built_is_refused_before_anything_is(folder: Path, words: tuple[str, ...]) -> None:
    ended = tidegate("cluster", *words, "--data-dir", folder / "data")
    assert ended.returncode in {64, 78}
    assert ended.stderr.count("\n") == 1
    assert not (folder / "data" / "postgres").exists()


def test_a_database_of_others_is_refused(folder: Path) -> None:
    ended = tidegate("cluster", "--data-dir", folder / "data", settings={"PRIMARY_DSN": "postgresql:///x"})
    assert ended.returncode == 78
    assert "`tidegate cluster` starts its own" in ended.stderr


def ports_taken(port: int) -> list[int]:
    """Of a cluster at *port*, those on which somebody listens."""
    taken = []
    for each in (port, port + 1, port + 2, port + 1_000, port + 1_001, port + 1_002):
        try:
            socket.create_server(("127.0.0.1", each)).close()
        except OSError:
            taken.append(each)
    return taken


@pytest.mark.full
def test_down_leaves_no_process_and_no_port_however_broken_it_is(folder: Path) -> None:
    data = folder / "data"
    with running_cluster(data, "--replicas", "0") as cluster:
        assert ports_taken(cluster.port)
        cluster.ask("pause", "postgres")
        cluster.ask("pause", "api-1")
        cluster.ask("cut", "cache")
        assert cluster.ask("down").stdout == "the cluster is stopping\n"
        assert cluster.process.wait(WITHIN_S) == 0
        assert processes_of(data) == []
        assert ports_taken(cluster.port) == []
        assert cluster.said().endswith("tidegate: stopping\n")
    assert not (data / "socket-folder").exists()
    assert not (data / "control.sock").exists()


def test_kill_9_of_it_leaves_no_process_however_broken_it_is(folder: Path) -> None:
    """A frozen process does not hear that its parent has died; and the next cluster finds everything as it should be."""
    data = folder / "data"
    with running_cluster(data, "--replicas", "0") as cluster:
        with cluster.node(1) as client:
            name = client.register()
        cluster.ask("kill", "nats")  # what was started again, elsewhere than the first time, dies with it too
        until(lambda: cluster.part("nats")["deaths"] == 1 and serves(cluster), "it is not started again")
        for words in (("pause", "postgres"), ("pause", "api-1"), ("pause", "worker-1"), ("cut", "cache")):
            assert cluster.ask(*words).returncode == 0
        cluster.process.kill()
        cluster.process.wait()
        await_gone(data)
        with running_cluster(data, "--replicas", "0", port=cluster.port) as again:
            assert lets_in(again.node(2), name)


@pytest.mark.full
def test_nginx_stands_before_the_nodes_where_it_is_wanted(folder: Path) -> None:
    """Its workers know nothing of the cluster: whatever is killed, none of them may keep the port."""
    data = folder / "data"
    with running_cluster(data, "--replicas", "0", "--balancer", "nginx") as cluster:
        assert names_of(cluster)[-1] == "nginx"
        with cluster.front() as client:
            name = client.register()
        cluster.ask("kill", "api-1")
        until(lambda: lets_in(cluster.front(), name), "nobody is let in while one node is away")
        os.kill(cluster.part("nginx")["pid"], signal.SIGKILL)  # the master alone
        until(lambda: cluster.part("nginx")["deaths"] == 1 and serves(cluster), "nginx does not come back")
        cluster.ask("kill", "balancer")
        until(lambda: cluster.part("nginx")["deaths"] == 2 and serves(cluster), "nginx does not come back")
        cluster.process.kill()
        cluster.process.wait()
        await_gone(data)
        until(lambda: ports_taken(cluster.port) == [], "its workers keep the port")


def test_ctrl_c_in_the_terminal_reaches_it_alone(cluster: RunningCluster) -> None:
    """A terminal sends SIGINT to the whole group; the servers must outlive the nodes that still need them."""
    own = os.getpgid(cluster.process.pid)
    assert [pid for pid in processes_of(cluster.folder) if os.getpgid(pid) == own] == [cluster.process.pid]


@contextlib.contextmanager
def in_a_terminal(folder: Path, *, columns: int) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run a cluster in a terminal; its other end, and the process."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    words = [
        "cluster",
        "--replicas",
        "0",
        "--nodes",
        "1",
        "--port",
        str(free_port_of_a_cluster()),
        "--data-dir",
        str(folder),
    ]
    environment = environment_with({}) | {"TERM": "xterm", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tidegate", *words],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd="/",
        process_group=0,
    )
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.terminate()
        process.wait(WITHIN_S)
        os.close(ours)


def read_until(terminal: int, is_there: Callable[[str], Any]) -> str:
    """All that was shown until *is_there*."""
    shown = ""
    give_up_at = time.monotonic() + WITHIN_S
    while not is_there(shown):
        assert time.monotonic() < give_up_at, shown
        if select.select([terminal], [], [], 1.0)[0]:
            shown += os.read(terminal, 65_536).decode(errors="replace")
    return shown


@pytest.mark.full
def test_in_a_terminal_it_is_shown_how_each_part_is(folder: Path) -> None:
    data = folder / "data"
    with in_a_terminal(data, columns=60) as (terminal, process):
        shown = read_until(terminal, lambda text: text.count("part  ") >= 3)
        picture = shown[shown.rindex("\x1b[?2026h") :] if shown.endswith("\x1b[?2026l") else shown.split("\x1b[?2026h")[-2]
        assert re.search(r"^api-1 +(up|starting)", picture.replace("\x1b[5F", "\n"), re.MULTILINE)
        assert "\x1b[3" not in shown, "NO_COLOR"
        assert tidegate("cluster", "kill", "cache", "--data-dir", data).returncode == 0
        read_until(terminal, lambda text: "valkey was ended by SIGKILL; starting it again" in text)
        process.send_signal(signal.SIGINT)
        read_until(terminal, lambda text: "tidegate: stopping" in text)
        assert process.wait(WITHIN_S) == 0
