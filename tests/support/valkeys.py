"""A Valkey of a test's own that may be stopped, frozen, killed and emptied without harm to other tests."""

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tests.support.lines import standing_still
from tidegate.embedded.server import OneProgramServer
from tidegate.embedded.valkey import EmbeddedValkey


@contextlib.contextmanager
def own_valkey() -> Iterator[EmbeddedValkey]:
    """Start one in a folder of its own, which is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    try:
        with EmbeddedValkey(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def frozen(server: OneProgramServer) -> Iterator[None]:
    """Let *server* stand still, as on a machine that hangs: connections are taken and stay open, nothing is answered."""
    with standing_still([server.process.pid]):
        yield


def kill(server: OneProgramServer) -> None:
    """End *server* with kill -9; it may be started again."""
    server.process.kill()
    server.process.wait()


def flush(server: EmbeddedValkey) -> None:
    """Empty *server*."""
    assert say(server, "FLUSHALL") == b"+OK\r\n"


def say(server: EmbeddedValkey, line: str) -> bytes:
    """The raw answer to one command; independent of the client that is tested."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(10)
        asking.connect(unquote(server.url.removeprefix("unix://")))
        asking.sendall(f"{line}\r\n".encode())
        return asking.recv(65_536)
