"""How other commands talk to a running cluster: one line of JSON there and one back, over a socket in its data folder."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

SOCKET_NAME: Final = "control.sock"

_REQUEST_BYTES_MAX: Final = 4_096
_REPLY_BYTES_MAX: Final = 4_194_304
_REQUEST_TIMEOUT_S: Final = 1.0
"""Whoever connects and says nothing holds the cluster up for no longer."""

_BACKLOG: Final = 16


class NoClusterError(Exception):
    """No cluster runs in this folder, or it cannot be talked to; the text says which."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done.

    Attributes:
        act: Such as "kill".
        part: To which part; empty: to all of it.
        how: A variety of the act, such as "replay".
    """

    act: str
    part: str = ""
    how: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of it.

    Attributes:
        code: An exit code.
        lines: For people.
        status: For programs: how the cluster is.
    """

    code: int
    lines: tuple[str, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)


class Control:
    """The cluster's end."""

    def __init__(self, folder: Path) -> None:
        """Listen in *folder*, for its owner alone; what a killed one left is removed, for the folder is ours.

        Raises:
            OSError: It cannot be made.
        """
        self._path = folder / SOCKET_NAME
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)  # bind(2) makes the file with it: nobody else ever sees an open one
        try:
            with _reachable(folder) as short:
                self._listener.bind(short)
        finally:
            os.umask(before)
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        self._waiting: list[socket.socket] = []

    def fileno(self) -> int:
        """A descriptor that can be read when somebody wants something."""
        return self._listener.fileno()

    def serve(self, answer: Callable[[Request], Reply]) -> None:
        """Let *answer* answer all who want something now; who asks for the end is told when it has come, by `close`."""
        while True:
            try:
                caller = self._listener.accept()[0]
            except BlockingIOError:
                return
            with contextlib.suppress(OSError, ValueError, TypeError):
                caller.settimeout(_REQUEST_TIMEOUT_S)
                reply = answer(Request(**json.loads(_line(caller, _REQUEST_BYTES_MAX))))
                caller.sendall(json.dumps(asdict(reply)).encode() + b"\n")
            self._waiting = [each for each in self._waiting if not _has_hung_up(each)]
            self._waiting.append(caller)

    def close(self) -> None:
        """Hang up on whoever still waits for the end."""
        self._path.unlink(missing_ok=True)
        for each in (self._listener, *self._waiting):
            each.close()


def ask(folder: Path, request: Request, *, timeout_s: float, to_its_end: bool = False) -> Reply:
    """Ask the cluster that runs in *folder*.

    Args:
        folder: Its data folder.
        request: What to ask.
        timeout_s: How long to wait for the answer.
        to_its_end: Wait until it has ended after the answer, for as long as it takes.

    Raises:
        NoClusterError: There is none, or it does not answer.
    """
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.settimeout(timeout_s)
            with _reachable(folder) as short:
                asking.connect(short)
            asking.sendall(json.dumps(asdict(request)).encode() + b"\n")
            said = json.loads(_line(asking, _REPLY_BYTES_MAX))
            if to_its_end:
                asking.settimeout(None)
                asking.recv(1)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise NoClusterError(f"no cluster runs in {folder}") from None
        except PermissionError:
            raise NoClusterError(f"the cluster in {folder} is another user's") from None
        except (OSError, ValueError):
            raise NoClusterError(f"the cluster in {folder} does not answer") from None
    return Reply(said["code"], tuple(said["lines"]), said["status"])


def _line(connection: socket.socket, bytes_max: int) -> bytes:
    """What was said up to the end of the line."""
    with connection.makefile("rb") as file:
        said = file.readline(bytes_max)
    if not said.endswith(b"\n"):
        raise ValueError("it was cut short")
    return said


def _has_hung_up(connection: socket.socket) -> bool:
    try:
        connection.setblocking(False)
        if connection.recv(1):
            return False
    except BlockingIOError:
        return False
    except OSError:
        pass
    connection.close()
    return True


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """A path of the socket that is short enough for unix(7) however deep *folder* lies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)
