"""Connections that are known to reach a certain API process of a node, so that a test can speak to each of them."""

import contextlib
import http.client
import os
import selectors
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.support.client import FORM, Reply
from tests.support.nodes import Node
from tests.support.waiting import until

_TRIES_MAX = 1_000
"""Connections until each of a few processes has enough; that so many do not suffice happens never."""


@dataclass
class Line:
    """One keep-alive connection; unlike a `Client` it never opens itself anew, for it might reach another process.

    Attributes:
        pid: The API process at its other end.
    """

    pid: int
    connection: http.client.HTTPConnection

    def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        token: str | None = None,
        device: str | None = None,
    ) -> None:
        """Send a request, from *device*, and do not wait for its answer."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if device is not None:
            headers["User-Agent"] = device
        body = None
        if fields is not None:
            headers["Content-Type"] = FORM
            body = urlencode(fields).encode()
        self.connection.request(method, path, body=body, headers=headers)

    def answer(self) -> Reply:
        """The answer to what was asked."""
        answer = self.connection.getresponse()
        content = answer.read()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def get(self, path: str, *, token: str | None = None) -> Reply:
        self.ask("GET", path, token=token)
        return self.answer()

    def form(self, path: str, fields: Mapping[str, str], *, token: str | None = None) -> Reply:
        self.ask("POST", path, fields, token=token)
        return self.answer()

    def hang_up(self) -> None:
        """Close without waiting for an answer."""
        self.connection.close()


def api_processes(node: Node) -> list[int]:
    """The process ids of *node*'s API processes, without the one that keeps the existence filter."""
    listed = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text()
    return [int(pid) for pid in listed.split() if _is_api_process(pid)]


def _is_api_process(pid: str) -> bool:
    try:
        return b"api-process" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended since it was listed
        return False


@contextlib.contextmanager
def open_lines(node: Node, *, per_process: int = 1) -> Iterator[list[Line]]:
    """Connections to each API process of *node*, one process after the other in turns.

    The kernel decides which process a connection goes to, so they are opened until each process has its own.
    """
    by_process: dict[int, list[Line]] = {pid: [] for pid in api_processes(node)}
    with contextlib.ExitStack() as closing:
        for _ in range(_TRIES_MAX):
            if all(len(lines) == per_process for lines in by_process.values()):
                break
            line = open_line(node, by_process)
            closing.callback(line.hang_up)
            if len(by_process[line.pid]) < per_process:
                by_process[line.pid].append(line)
        yield [line for turn in zip(*by_process.values(), strict=True) for line in turn]


def ask_all(
    lines: Sequence[Line], method: str, path: str, fields: Mapping[str, str] | None = None, *, token: str | None = None
) -> list[Reply]:
    """Send the same request on all *lines* before any answer is read."""
    for line in lines:
        line.ask(method, path, fields, token=token)
    return [line.answer() for line in lines]


@contextlib.contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    """Stop the processes *pids*, as a machine does that swaps or is short of cores, and let them go on at the end."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        until(lambda: not any(map(_may_run, pids)), "a process goes on after SIGSTOP")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _may_run(pid: int) -> bool:
    """Whether a thread of *pid* has not stopped yet (proc(5); state T): the kernel stops them one by one."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if stat.read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return True
    return False


def answers_as_they_come(lines: Sequence[Line]) -> Iterator[tuple[Line, Reply]]:
    """The answers on *lines*, each of which has asked, in the order in which they arrive."""
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line.connection.sock, selectors.EVENT_READ, line)
        for _ in lines:
            (key, _) = selector.select(timeout=60)[0]
            selector.unregister(key.fileobj)
            yield key.data, key.data.answer()


def process_of(reply: Reply) -> str:
    """Which process answered: the request ids that a process makes begin alike."""
    return reply.headers["x-request-id"][:12]


def open_line(node: Node, pids: Iterable[int]) -> Line:
    """A connection to whichever of *pids*, all API processes of *node*, the kernel gives it to."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    line = Line(0, connection)
    assert line.get("/health/live").status == 200
    inode = _inode_of(connection.sock.getsockname()[1], node.port)
    (line.pid,) = [pid for pid in pids if inode in _sockets_of(pid)]
    return line


def listening_sockets(port: int) -> list[str]:
    """Inodes of the sockets that listen on *port* (proc(5); state 0A is LISTEN)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [fields[9] for fields in rows if fields[1].endswith(f":{port:04X}") and fields[3] == "0A"]


def _inode_of(client_port: int, server_port: int) -> str:
    """Of the server's end of a connection on the loopback interface (proc(5), /proc/net/tcp)."""
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        if fields[1].endswith(f":{server_port:04X}") and fields[2].endswith(f":{client_port:04X}"):
            return fields[9]
    raise AssertionError("there is no such connection")


def _sockets_of(pid: int) -> set[str]:
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    return inodes
