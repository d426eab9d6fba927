"""A NATS server of a test's own that may be stopped, frozen, killed and wiped without harm to other tests."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.lines import standing_still


class OwnQueue:
    """One server on a port of its own, which it keeps when it is started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it listens."""
        program = Path(sys.executable).with_name("nats-server")
        words = [program, "-js", "-sd", self._folder / "store", "-a", "127.0.0.1", "-p", str(self.port)]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        give_up_at = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < give_up_at, "NATS does not listen"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it with kill -9; it may be started again."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wipe(self) -> None:
        """Kill it and start it again with nothing in it."""
        self.kill()
        shutil.rmtree(self._folder / "store")
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it stand still: connections are taken and stay open, nothing is answered."""
        assert self.process is not None
        with standing_still([self.process.pid]):
            yield


@contextlib.contextmanager
def own_queue() -> Iterator[OwnQueue]:
    """Start one in a folder of its own, which is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    server = OwnQueue(folder)
    server.start()
    try:
        yield server
    finally:
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
