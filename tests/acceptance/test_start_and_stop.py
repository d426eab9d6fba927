"""`tidegate up`: starts with nothing, stops in order, leaves no process behind, and comes back whatever was done to it."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.client import PASSWORD, Client
from tests.support.commands import ROOT, Up, await_gone, environment_with, made_folder, processes_of, running_up, tidegate
from tidegate.embedded.children import SystemUser


@pytest.fixture
def folder() -> Iterator[Path]:
    with made_folder() as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    """One that the tests share which do it no harm."""
    with made_folder() as folder, running_up(folder / "data") as up:
        yield up


CONNECTIONS = 12
"""The kernel gives each to some process of the node; that none of two sees any of them happens once in 2,048 times."""


def await_true(condition: Callable[[], bool], *, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_lines_that_it_prints_do_what_they_say(running: Up) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    await_true(lambda: "Ctrl-C stops it." in running.output.read_text())
    lines = re.findall(r"^  (curl .*)$", running.output.read_text(), re.MULTILINE)
    answers = [json.loads(subprocess.check_output(["sh", "-c", line], stderr=subprocess.DEVNULL)) for line in lines]
    assert answers[0] == {"code": "200", "message": "success"}
    assert set(answers[1]) == {"access_token", "refresh_token"}
    assert answers[2]["username"] == "alice"


def test_a_command_beside_it_needs_no_environment(running: Up) -> None:
    beside = ("--data-dir", running.folder)
    with running.client() as client:
        name = client.register()
        assert f"username: {name}\n" in tidegate("users", "show", name, *beside).stdout
        assert tidegate("users", "disable", name, *beside).returncode == 0
        assert client.form("/login", {"username": name, "password": PASSWORD}).status == 403
    assert tidegate("migrate", "status", *beside).returncode == 0
    assert tidegate("config", "check", *beside).returncode == 0
    assert " signing since " in tidegate("keys", "list", *beside).stdout


def test_a_second_one_on_the_same_data_is_refused(running: Up) -> None:
    ended = tidegate("up", "--data-dir", running.folder)
    assert ended.returncode == 75
    assert ended.stderr.startswith(
        f"tidegate: process {running.process.pid} runs Tidegate in {running.folder} already; stop it"
    )
    assert running.is_ready()


def test_another_beside_it_knows_nothing_of_it(running: Up, folder: Path) -> None:
    with running_up(folder / "data") as other, running.client() as here, other.client() as there:
        name = here.register()
        assert there.form("/login", {"username": name, "password": PASSWORD}).status == 404
        assert there.get("/me", token=here.log_in(name)["access_token"]).status == 401
        other.stop()
        assert running.is_ready()


def test_ctrl_c_in_the_terminal_reaches_it_alone(running: Up) -> None:
    """A terminal sends SIGINT to the whole group; the database must outlive the API that still needs it."""
    own = os.getpgid(running.process.pid)
    groups = {pid: os.getpgid(pid) for pid in processes_of(running.folder)}
    assert len(groups) > 4
    assert [pid for pid, group in groups.items() if group == own] == [running.process.pid]


def test_metrics_are_on_their_own_port(running: Up) -> None:
    metrics = Client(running.metrics_port)
    assert b"tidegate_requests_total{" in metrics.get("/metrics").body
    metrics.close()
    with running.client() as client:
        assert client.get("/metrics").status == 404


def test_its_existence_filter_decides_alone(running: Up) -> None:
    """There is no other node, and the database vouches for everybody else."""
    with Client(running.metrics_port) as metrics:
        await_true(lambda: b"tidegate_existence_decides_alone 1.0" in metrics.get("/metrics").body)


def test_its_api_reaches_the_valkey_that_it_starts(running: Up) -> None:
    with Client(running.metrics_port) as metrics:
        await_true(lambda: re.search(rb"^tidegate_cache_up [1-9]", metrics.get("/metrics").body, re.MULTILINE) is not None)


def test_it_tells_the_others_where_its_nats_is(running: Up) -> None:
    """With the password, so in a file that only its owner may read."""
    told = running.folder / "tidegate.env"
    assert stat.S_IMODE(told.stat().st_mode) == 0o600
    found = re.search(r"^TIDEGATE_QUEUE_URL=.*nats://tidegate:([^@]+)@127\.0\.0\.1:(\d+)", told.read_text(), re.MULTILINE)
    assert found is not None
    socket.create_connection(("127.0.0.1", int(found[2])), timeout=5).close()
    assert found[1] not in running.output.read_text()
    for pid in running.children("tidegate", "worker"):
        assert f"TIDEGATE_QUEUE_URL=nats://tidegate:{found[1]}@".encode() in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize(("setting", "program"), [("VALKEY_PROGRAM", "valkey-server"), ("NATS_PROGRAM", "nats-server")])
def test_a_program_that_was_named_must_be_there(folder: Path, setting: str, program: str) -> None:
    """Where none was named and none is found, it goes on without; whoever names one wants it."""
    ended = tidegate("up", "--data-dir", folder / "data", settings={setting: f"/no/such/{program}"})
    assert ended.returncode == 69
    assert f"/no/such/{program} cannot be run; set TIDEGATE_{setting} to another" in ended.stderr


def test_everything_is_kept_from_one_start_to_the_next(folder: Path) -> None:
    data = folder / "data"
    with running_up(data) as up:
        with up.client() as client:
            name = client.register()
            pair = client.log_in(name)
        assert up.stop() == 0
    with running_up(data, ports=(up.port, up.metrics_port)) as up, up.client() as client:
        assert client.log_in(name)
        # The keys are the same too: what was handed out yesterday is good today.
        assert client.get("/me", token=pair["access_token"]).status == 200
        assert client.form("/refresh", {"refresh_token": pair["refresh_token"]}).status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)])
def test_it_stops_the_api_then_the_worker_then_the_database(folder: Path, number: signal.Signals) -> None:
    data = folder / "data"
    with running_up(data) as up:
        await_true(lambda: "working" in read(data / "logs" / "worker.log"))
        assert up.stop(number) == 0
        assert processes_of(data) == []
    stopped = [moment_of(read(data / "logs" / f"{name}.log"), "stopped") for name in ("api", "worker")]
    # PostgreSQL tells milliseconds; it was told to stop after the worker had gone.
    told = re.findall(
        r"^(\S+ \S+) UTC .*received fast shutdown request", read(data / "postgres" / "postgres.log"), re.MULTILINE
    )
    assert stopped[0] < stopped[1] < datetime.fromisoformat(told[-1] + "+00:00").timestamp() + 0.001
    assert "database system is shut down" in read(data / "postgres" / "postgres.log")


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def moment_of(log: str, event: str) -> float:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return datetime.fromisoformat(next(line["time"] for line in lines if line.get("event") == event)).timestamp()


def test_a_signal_while_it_starts_stops_it_too(folder: Path) -> None:
    with running_up(folder / "data", wait=False) as up:
        await_true(lambda: (folder / "data" / "postgres" / "cluster").exists())
        up.stop(signal.SIGTERM)
        await_gone(folder / "data")


def test_kill_9_of_it_leaves_no_process(folder: Path) -> None:
    data = folder / "data"
    with running_up(data) as up:
        assert len(processes_of(data)) > 4
        up.process.kill()
        up.process.wait()
        await_gone(data)


def test_it_starts_again_after_kill_9_of_everything(folder: Path) -> None:
    """An acknowledged registration is never lost (promise P1)."""
    data = folder / "data"
    with running_up(data) as up:
        with up.client() as client:
            name = client.register()
        kill_all(data)
    with running_up(data) as up, up.client() as client:
        assert client.log_in(name)


def test_it_starts_again_on_the_same_port_right_after_kill_9(folder: Path) -> None:
    """Its former API may still be ending its last requests there."""
    data = folder / "data"
    with running_up(data) as up:
        up.process.kill()
        up.process.wait()
        again = subprocess.Popen(
            [sys.executable, "-m", "tidegate", "up", "--port", str(up.port), "--data-dir", str(data)],
            env=environment_with({"METRICS_PORT": str(up.metrics_port)}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
        )
        with again:
            assert again.stderr is not None
            said = iter(again.stderr.readline, b"")
            assert any(b"Tidegate is ready" in line for line in said)
            again.terminate()
            again.stderr.read()
        assert again.returncode == 0


def kill_all(data: Path) -> None:
    """As the kernel would, everything at once, again until nothing is left that somebody had just started."""
    while found := processes_of(data):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


@pytest.mark.parametrize("victim", ["api", "api-process", "worker", "postgres", "valkey", "nats"])
def test_what_dies_is_started_again(folder: Path, victim: str) -> None:
    data = folder / "data"
    with running_up(data) as up:
        with up.client() as client:
            name = client.register()
        killed = processes_named(up, victim)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await_true(lambda: bool(processes_named(up, victim)) and not set(processes_named(up, victim)) & set(killed))
        await_true(up.is_ready)
        for _ in range(CONNECTIONS):
            await_true(lambda: lets_in(up, name))
        assert up.process.poll() is None


def test_what_dies_before_all_was_ready_is_started_again(folder: Path) -> None:
    with running_up(folder / "data", wait=False) as up:
        await_true(lambda: bool(processes_named(up, "api")))
        for pid in processes_named(up, "postgres"):
            os.kill(pid, signal.SIGKILL)
        up.await_ready()


def test_a_database_that_what_is_left_of_it_keeps_out_is_tried_again(folder: Path) -> None:
    """A session that does not notice the death of the server holds its shared memory; nothing may end for that."""
    data = folder / "data"
    with running_up(data) as up:
        (server,) = processes_named(up, "postgres")
        left = int(Path(f"/proc/{server}/task/{server}/children").read_text().split()[0])
        os.kill(left, signal.SIGSTOP)
        os.kill(server, signal.SIGKILL)
        await_true(lambda: "PostgreSQL could not be started" in up.output.read_text())
        os.kill(left, signal.SIGCONT)
        await_true(lambda: bool(processes_named(up, "postgres")))
        await_true(up.is_ready)
        assert up.process.poll() is None


@pytest.mark.full
def test_a_database_that_lives_and_will_never_serve_again_is_started_anew(folder: Path) -> None:
    """Its recovery finds no room the moment it begins, here: it cannot read a file; PostgreSQL 18.6 does not notice."""
    data = folder / "data"
    with running_up(data) as up:
        with up.client() as client:
            name = client.register()
        (server,) = processes_named(up, "postgres")
        label = data / "postgres" / "cluster" / "backup_label"
        label.write_text("nothing that it can read\n")
        label.chmod(0o644)
        sessions = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        os.kill(int(sessions[-1]), signal.SIGKILL)
        await_true(lambda: 'invalid data in file "backup_label"' in read(data / "postgres" / "postgres.log"))
        label.unlink()
        await_true(lambda: "PostgreSQL lives, but neither serves nor recovers" in up.output.read_text())
        await_true(up.is_ready)
        assert lets_in(up, name)
        assert server not in processes_named(up, "postgres")


def lets_in(up: Up, name: str) -> bool:
    """Whether the API process that the kernel chooses logs *name* in; each has connections of its own to mend."""
    with up.client() as client:
        return client.form("/login", {"username": name, "password": PASSWORD}).status == 200


def processes_named(up: Up, name: str) -> list[int]:
    if name == "postgres":
        return up.children("-D", str(up.folder / "postgres" / "cluster"))
    if name == "valkey":
        return up.children("--unixsocket", str(up.folder / "valkey"))
    if name == "nats":
        return up.children("-c", str(up.folder / "nats" / "nats.conf"))
    return up.children("tidegate", name)


@pytest.mark.full
def test_it_needs_neither_a_language_nor_a_home(folder: Path) -> None:
    """A LANG that is not installed kills initdb; no LANG makes a database that knows no letters."""
    environment = {name: value for name, value in environment_with({}).items() if name not in ("HOME", "LANG", "LC_ALL")}
    for lang in ({}, {"LANG": "xx_YY", "LC_ALL": "xx_YY"}):
        with running_up(folder / "-".join(["data", *lang]), environment=environment | lang) as up, up.client() as client:
            assert client.log_in(client.register("jürgen"))


def test_a_strict_umask_locks_nobody_out(folder: Path) -> None:
    with running_up(folder / "made" / "data", umask=0o077) as up:
        assert up.is_ready()


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a plain user already")
def test_a_plain_user_can_run_it(folder: Path) -> None:
    nobody = SystemUser.named("nobody")
    python = python_for(nobody)
    data = folder / "home" / "data"
    data.parent.mkdir()
    os.chown(data.parent, nobody.uid, nobody.gid)
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry and Path(entry).is_dir())
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path}
    with running_up(data, python=python, user=nobody.uid, environment=environment) as up:
        assert Path(f"/proc/{up.process.pid}").stat().st_uid == nobody.uid
        with up.client() as client:
            assert client.log_in(client.register())
        assert up.stop() == 0


def python_for(user: SystemUser) -> str:
    """A Python of our version that *user* may run: our own, else the system's."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with contextlib.suppress(OSError):
            asked = subprocess.run([candidate, "-c", ""], user=user.uid, group=user.gid, extra_groups=[], check=False)
            if asked.returncode == 0:
                return candidate
    pytest.skip(
        f"{user.name} can run no Python of this version here: {shlex.quote(sys.executable)} lies behind a closed folder"
    )


def test_the_clone_says_what_continuous_integration_runs() -> None:
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == 'exec "$(dirname -- "$0")/../test" "$@"'
