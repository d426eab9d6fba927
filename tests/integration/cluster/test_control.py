"""Other commands reach the cluster that runs in a folder, wherever that lies, and nobody else does."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import until
from tidegate.cluster.control import Control, NoClusterError, Reply, Request, ask


@pytest.fixture
def folder() -> Iterator[Path]:
    """Deeper than the path of a socket may be (unix(7): 107 bytes)."""
    with tempfile.TemporaryDirectory() as made:
        deep = Path(made, *["a-folder-of-a-folder"] * 8)
        deep.mkdir(parents=True)
        yield deep


@contextmanager
def answering(folder: Path) -> Iterator[list[Request]]:
    """A cluster that answers, and what it was asked."""
    asked: list[Request] = []
    ending = threading.Event()
    control = Control(folder)

    def answer(request: Request) -> Reply:
        asked.append(request)
        if request.act == "down":
            ending.set()
        return Reply(7, (f"did {request.act}",), {"parts": ["ä" * 10_000]})

    def serve() -> None:
        while not ending.wait(0.005):
            control.serve(answer)
        control.close()

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        yield asked
    finally:
        ending.set()
        serving.join()


def test_what_is_asked_is_answered(folder: Path) -> None:
    with answering(folder) as asked:
        request = Request("pause", "replica-2", "replay")
        assert ask(folder, request, timeout_s=30) == Reply(7, ("did pause",), {"parts": ["ä" * 10_000]})
        assert asked == [request]


def test_who_asks_for_the_end_is_told_when_it_has_come(folder: Path) -> None:
    with answering(folder):
        ask(folder, Request("down"), timeout_s=30, to_its_end=True)
        with pytest.raises(NoClusterError, match="no cluster runs in"):
            ask(folder, Request("status"), timeout_s=30)


def test_only_its_owner_may_ask(folder: Path) -> None:
    before = os.umask(0)
    try:
        with answering(folder):
            assert (folder / "control.sock").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_what_a_killed_one_left_is_nobody_and_in_nobodys_way(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        descriptor = os.open(folder, os.O_RDONLY)
        left.bind(f"/proc/self/fd/{descriptor}/control.sock")
        os.close(descriptor)
    with pytest.raises(NoClusterError, match="no cluster runs in"):
        ask(folder, Request("status"), timeout_s=30)
    with answering(folder):
        assert ask(folder, Request("status"), timeout_s=30).code == 7


def test_no_folder_is_no_cluster() -> None:
    with pytest.raises(NoClusterError, match="no cluster runs in"):
        ask(Path("/nowhere/at/all"), Request("status"), timeout_s=30)


@pytest.mark.parametrize("said", [b"", b"nonsense\n", b'{"act": 1, "other": 2}\n', b"[]\n", b"x" * 100_000])
def test_whoever_talks_nonsense_is_hung_up_on_and_the_next_is_answered(folder: Path, said: bytes) -> None:
    with answering(folder) as asked:
        with socket.socket(socket.AF_UNIX) as caller:
            descriptor = os.open(folder, os.O_RDONLY)
            caller.connect(f"/proc/self/fd/{descriptor}/control.sock")
            os.close(descriptor)
            caller.sendall(said)
            caller.shutdown(socket.SHUT_WR)
            ask(folder, Request("status"), timeout_s=30)
        assert asked == [Request("status")]


def test_those_who_have_heard_their_answer_are_not_kept(folder: Path) -> None:
    with answering(folder):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            ask(folder, Request("status"), timeout_s=30)
        until(lambda: len(os.listdir("/proc/self/fd")) < before + 10, "connections are kept")
