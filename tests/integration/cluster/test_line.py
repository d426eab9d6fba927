"""A line carries all bytes both ways, ends as its server and its callers end, and is dead when it is cut."""

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until
from tidegate.cluster import line
from tidegate.cluster.processes import Frozen

MUCH = bytes(range(256)) * 40_000
"""10 MB: far more than any buffer between them holds."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tidegate-line-") as made:  # pytest's own is too deep for a socket
        yield Path(made)


@pytest.fixture
def server(folder: Path) -> Iterator[socket.socket]:
    with line.listen(str(folder / "server")) as listening:
        listening.settimeout(30)
        yield listening


@contextlib.contextmanager
def laid(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    words = [sys.executable, "-I", "-S", line.__file__, str(folder / "line"), str(folder / "server")]
    with subprocess.Popen(words) as process:
        try:
            until((folder / "line").exists, "the line is not laid")
            yield process
        finally:
            process.kill()


@pytest.fixture
def process(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with laid(folder) as process:
        yield process


def called(folder: Path) -> socket.socket:
    caller = line.connect(str(folder / "line"), timeout_s=30)
    caller.settimeout(30)
    return caller


def say_all(connection: socket.socket, said: bytes) -> None:
    connection.sendall(said)
    connection.shutdown(socket.SHUT_WR)


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


@pytest.mark.usefixtures("process")
def test_all_that_is_said_arrives_both_ways_at_once(folder: Path, server: socket.socket) -> None:
    with called(folder) as caller, server.accept()[0] as served:
        served.settimeout(30)
        heard: list[bytes] = []
        talking = [
            threading.Thread(target=say_all, args=(served, MUCH)),
            threading.Thread(target=say_all, args=(caller, MUCH[::-1])),
            threading.Thread(target=lambda: heard.append(everything(served))),
        ]
        for each in talking:
            each.start()
        assert everything(caller) == MUCH
        for each in talking:
            each.join()
        assert heard == [MUCH[::-1]]


@pytest.mark.usefixtures("process")
def test_who_has_ended_its_sending_still_hears(folder: Path, server: socket.socket) -> None:
    with called(folder) as caller:
        caller.sendall(b"asked")
        caller.shutdown(socket.SHUT_WR)
        with server.accept()[0] as served:
            assert everything(served) == b"asked"
            served.sendall(b"answered")
        assert everything(caller) == b"answered"


@pytest.mark.usefixtures("process")
def test_a_server_that_hangs_up_is_felt_by_its_caller(folder: Path, server: socket.socket) -> None:
    with called(folder) as caller:
        server.accept()[0].close()
        assert caller.recv(1) == b""


def test_a_server_that_is_away_refuses_and_is_found_again_when_it_is_back(folder: Path) -> None:
    with laid(folder):
        with called(folder) as caller:
            assert caller.recv(1) == b""
        with line.listen(str(folder / "server")) as server, called(folder) as caller, server.accept()[0] as served:
            served.sendall(b"back")
            assert caller.recv(4) == b"back"


def test_a_cut_line_hangs_and_says_all_later(
    folder: Path, server: socket.socket, process: "subprocess.Popen[bytes]"
) -> None:
    with called(folder) as caller, server.accept()[0] as served:
        cut = Frozen(process.pid)
        caller.sendall(b"said meanwhile")
        with called(folder) as newcomer:  # the kernel lets it in, and nobody answers
            newcomer.settimeout(0.2)
            with pytest.raises(TimeoutError):
                newcomer.recv(1)
        served.settimeout(0.2)
        with pytest.raises(TimeoutError):
            served.recv(1)
        cut.thaw()
        served.settimeout(30)
        assert served.recv(100) == b"said meanwhile"


def test_a_line_that_is_taken_away_refuses(folder: Path, server: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    with called(folder) as caller:
        server.accept()[0].close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert caller.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            called(folder)


@pytest.mark.usefixtures("process")
def test_nobody_else_may_use_it(folder: Path) -> None:
    assert (folder / "line").stat().st_mode & 0o077 == 0


def test_it_leads_to_a_port_as_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with line.connect(f"127.0.0.1:{port}", timeout_s=30) as caller, server.accept()[0] as served:
            served.sendall(b"!")
            assert caller.recv(1) == b"!"
