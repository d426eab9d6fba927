"""A PostgreSQL of a test's own that may be stopped, frozen and killed without harm to other tests."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.lines import standing_still
from tidegate.embedded.postgres import EmbeddedPostgres


@contextlib.contextmanager
def own_server(*, durable: bool = False) -> Iterator[EmbeddedPostgres]:
    """Start one in a folder of its own, which is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must be able to enter
    try:
        with EmbeddedPostgres(folder, durable=durable) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def processes_of(server: EmbeddedPostgres) -> list[int]:
    """The server's process and those that serve its connections."""
    parent = server.process.pid
    return [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]


@contextlib.contextmanager
def frozen(server: EmbeddedPostgres) -> Iterator[None]:
    """Let nobody at *server* do anything, as on a machine that hangs: connections stay open, nothing is answered."""
    with standing_still([server.process.pid]), standing_still(processes_of(server)[1:]):
        yield


def kill(server: EmbeddedPostgres) -> None:
    """End all processes of *server* at once, as a power failure does for everything but what is on the disk."""
    pids = processes_of(server)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()
