"""A PostgreSQL that lives without its recovery is noticed; one that recovers is left in peace for as long as it likes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import own_server, processes_of
from tests.support.waiting import until
from tidegate.embedded import postgres as postgres_module
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.postgres_processes import is_lost, is_recovering
from tidegate.embedded.postgres_programs import EmbeddedPostgresError

STUCK_S = 0.5
HELD_WITHIN_S = 20.0

NAMED = """
import subprocess, sys
children = [subprocess.Popen(["/bin/bash", "-c", f'exec -a "{name}" sleep 600']) for name in sys.argv[1:]]
print(flush=True)
children[0].wait()
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPostgres]:
    monkeypatch.setattr(postgres_module, "_STUCK_S", STUCK_S)
    with own_server() as running:
        yield running


def title(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    return ""


def process_called(server: EmbeddedPostgres, name: str) -> int | None:
    with contextlib.suppress(OSError):
        return next((pid for pid in processes_of(server)[1:] if f" {name}" in title(pid)), None)
    return None


def break_recovery(server: EmbeddedPostgres) -> Path:
    """Let its next recovery end with an error the moment it begins, as a full disk does; by which file."""
    label = server.folder / "cluster" / "backup_label"
    label.write_text("nothing that it can read\n")
    label.chmod(0o644)
    return label


def end_a_session(server: EmbeddedPostgres) -> None:
    """By which all others end, and the server recovers."""
    until(lambda: process_called(server, "walwriter") is not None, "it does not serve")
    pid = process_called(server, "walwriter")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def is_stuck_for(server: EmbeddedPostgres, seconds: float) -> bool:
    """Whether it says so, asked for so long."""
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        if server.is_stuck():
            return True
        time.sleep(0.02)
    return False


def test_a_server_whose_recovery_ended_before_it_began_is_stuck_and_serves_again_once_it_is_started_anew(
    server: EmbeddedPostgres,
) -> None:
    """The real thing: the postmaster does not notice, and refuses everybody for ever."""
    assert not is_stuck_for(server, 3 * STUCK_S)
    label = break_recovery(server)
    end_a_session(server)
    until(server.is_stuck, "nobody notices")
    assert server.process.poll() is None
    label.unlink()
    with pytest.raises(EmbeddedPostgresError):
        server._ask("SELECT 1")
    server.process.send_signal(server.stopping[-1].signal)
    server.process.wait(60)
    assert not server.is_stuck()
    server.start()
    assert server._ask("SELECT 1") == "1"
    assert not is_stuck_for(server, 3 * STUCK_S)


def test_a_server_that_recovers_is_not_stuck_however_long_it_takes(server: EmbeddedPostgres) -> None:
    server._ask("CREATE TABLE much AS SELECT generate_series(1, 1000000)")
    end_a_session(server)
    until(lambda: process_called(server, "startup") is not None, "it does not recover")
    recovering = process_called(server, "startup")
    assert recovering is not None
    os.kill(recovering, signal.SIGSTOP)
    try:
        assert is_recovering(server.process.pid)
        assert not is_stuck_for(server, 4 * STUCK_S)
    finally:
        os.kill(recovering, signal.SIGCONT)
    until(lambda: process_called(server, "walwriter") is not None, "it does not come back")
    assert server._ask("SELECT count(*) FROM much") == "1000000"


@pytest.mark.full
def test_a_start_waits_for_whoever_recovers_beyond_all_patience(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To end it would begin its work anew, and so for ever."""
    monkeypatch.setattr(postgres_module, "_START_PATIENCE_S", 0.3)
    held = kill_and_hold_the_next_recovery(server, for_s=2.0)
    server.start()
    held.join()
    assert server._ask("SELECT count(*) FROM much") == "1000000"


@pytest.mark.full
def test_whoever_wants_to_stop_need_not_wait_for_a_recovery(server: EmbeddedPostgres) -> None:
    held = kill_and_hold_the_next_recovery(server, for_s=2.0)
    stops_at = time.monotonic() + 1.0
    server.is_unwanted = lambda: time.monotonic() > stops_at
    with pytest.raises(EmbeddedPostgresError, match="told to stop"):
        server.start()
    held.join()
    server.is_unwanted = lambda: False
    server.start()
    assert server._ask("SELECT count(*) FROM much") == "1000000"


def kill_and_hold_the_next_recovery(server: EmbeddedPostgres, *, for_s: float) -> threading.Thread:
    """Kill *server*, and let its next recovery stand still for *for_s* as one that has much to do."""
    server._ask("CREATE TABLE much AS SELECT generate_series(1, 1000000)")
    for pid in processes_of(server):
        os.kill(pid, signal.SIGKILL)
    dead = server.process
    dead.wait(60)

    def hold() -> None:
        pid, give_up_at = None, time.monotonic() + HELD_WITHIN_S
        while pid is None and time.monotonic() < give_up_at:
            time.sleep(0.0005)
            if server._process is not None and server._process is not dead:
                pid = process_called(server, "startup")
        if pid is None:  # it was quicker than we: nothing is proven this time
            return
        os.kill(pid, signal.SIGSTOP)
        time.sleep(for_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    holding = threading.Thread(target=hold, daemon=True)
    holding.start()
    return holding


@contextlib.contextmanager
def a_postmaster_with(*names: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", NAMED, *names], stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(
            lambda: sum(title(int(pid)) in names for pid in children.read_text().split()) == len(names), "they do not start"
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGKILL)


HELPERS = ("postgres: checkpointer ", "postgres: background writer ", "postgres: io worker 0")


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("postgres: walwriter ", False),
        ("postgres: startup recovering 00000001000000000000000A", False),
        ("postgres: main: startup ", False),  # of a cluster that has a name
        ("postgres: autovacuum launcher ", True),
    ],
)
def test_who_serves_or_recovers_is_told_by_the_names_of_its_processes(name: str, lost: bool) -> None:
    with a_postmaster_with(*HELPERS, name) as postmaster:
        assert is_lost(postmaster.pid) is lost
        assert is_recovering(postmaster.pid) is ("startup" in name)


def test_one_that_somebody_holds_or_that_has_ended_is_not_lost() -> None:
    """`tidegate cluster pause postgres`."""
    with a_postmaster_with(*HELPERS) as postmaster:
        postmaster.send_signal(signal.SIGSTOP)
        until(lambda: not is_lost(postmaster.pid), "it is ended while it is held")
    assert not is_lost(postmaster.pid)


@pytest.mark.full
def test_one_that_shuts_down_is_not_stuck(server: EmbeddedPostgres) -> None:
    """Its last checkpoint may take long, and nobody serves meanwhile."""
    pid_file = server.folder / "cluster" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([*lines[:7], "stopping"]) + "\n")
    break_recovery(server)
    end_a_session(server)
    until(lambda: is_lost(server.process.pid), "it serves all the same")
    assert not is_stuck_for(server, 4 * STUCK_S)
    server.process.send_signal(server.stopping[-1].signal)
