"""A real HAProxy or nginx before nodes of a test's own, which write down what reaches them and answer as they are told."""

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.nodes import free_ports
from tests.support.waiting import until, until_so
from tests.support.wires import Wire
from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.nginx import nginx_conf
from tidegate.balancer.plan import Address, BalancerPlan
from tidegate.embedded.haproxy import EmbeddedHaproxy
from tidegate.embedded.nginx import EmbeddedNginx

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r", re.IGNORECASE)

SMUGGLED = {
    "both lengths": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "both lengths, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nA\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nAB",
    "a length with a sign": b"Content-Length: +1\r\n\r\nA",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding behind another": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a coding alone": b"Transfer-Encoding: chunked\r\n\r\n1\r\nA\r\n0\r\n\r\n",
    "a blank before the colon": b"Content-Length : 1\r\n\r\nA",
    "a second host": b"Host: other\r\n\r\n",
    "NUL in a value": b"X: a\0b\r\n\r\n",
    "CR in a value": b"X: a\rb\r\n\r\n",
}
"""Heads, without their first two lines, and bodies that two readers of HTTP could read otherwise."""

Act = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]
"""What a node does with a request that it has read and written down."""


def answering(body: bytes = b"ok", *, status: str = "200 OK", headers: bytes = b"") -> Act:
    """Answer, and keep the connection."""

    async def act(writer: asyncio.StreamWriter, _request: bytes) -> None:
        writer.write(b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status.encode(), headers, len(body), body))

    return act


async def dying(writer: asyncio.StreamWriter, _request: bytes) -> None:
    """End without a word: whether the request was done, nobody can know."""
    writer.close()


def waiting_for(event: asyncio.Event, then: Act) -> Act:
    """Do *then* once *event* has come."""

    async def act(writer: asyncio.StreamWriter, request: bytes) -> None:
        await event.wait()
        await then(writer, request)

    return act


@dataclass
class RecordingNode:
    """A node that writes down what reaches it.

    Attributes:
        port: Where it listens.
        act: What it does with a request.
        ready: The status of its /health/ready; None: it stands still, and answers nothing about its health.
        requests: The octets of each request but those about its health.
        broken_off: How many connections ended before their request was answered.
    """

    port: int
    act: Act = field(default_factory=answering)
    ready: int | None = 200
    requests: list[bytes] = field(default_factory=list)
    broken_off: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                await self._answer_one(reader, writer)
        self._tasks.discard(task)
        writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        request = head + (await reader.readexactly(int(length[1])) if length else b"")
        if b" /health/" in head.partition(b"\r\n")[0]:
            if self.ready is None:
                await asyncio.Event().wait()
            status = self.ready if b" /health/ready " in head else 200
            writer.write(b"HTTP/1.1 %d Health\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % (status or 0))
            writer.close()
            return
        self.requests.append(request)
        acting = asyncio.ensure_future(self.act(writer, request))
        leaving = asyncio.ensure_future(reader.read(1))
        await asyncio.wait([acting, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not acting.done():
            self.broken_off += 1
        for each in (acting, leaving):
            each.cancel()
        await asyncio.gather(acting, leaving, return_exceptions=True)

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()


@dataclass(kw_only=True)
class Balanced:
    """Nodes, and what stands before them."""

    plan: BalancerPlan
    nodes: list[RecordingNode]
    servers: list[asyncio.Server]

    def close(self, index: int) -> None:
        """Let the node at *index* refuse connections, as one that was killed."""
        self.servers[index].close()
        self.nodes[index].end()

    @property
    def port(self) -> int:
        return self.plan.listen.port

    @property
    def requests(self) -> list[bytes]:
        return [request for node in self.nodes for request in node.requests]


@dataclass(kw_only=True)
class BalancedByHaproxy(Balanced):
    haproxy: EmbeddedHaproxy

    async def until_status(self, node: int, status: str, *, backend: str = "nodes") -> None:
        """Wait until HAProxy says *status* of node number *node*, counted from 1."""
        await until_so(
            lambda: status_of(self.haproxy, node, backend=backend) == status, f"node {node} of {backend} is not {status}"
        )


@dataclass(kw_only=True)
class BalancedByNginx(Balanced):
    nginx: EmbeddedNginx

    def workers(self) -> set[int]:
        """Its processes but the master."""
        master = self.nginx.process.pid
        return set(map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()))


def status_of(haproxy: EmbeddedHaproxy, node: int, *, backend: str = "nodes") -> str:
    """What *haproxy* thinks of node number *node*, counted from 1."""
    rows = {(row["pxname"], row["svname"]): row["status"] for row in haproxy.statistics()}
    return rows[backend, f"node-{node}"]


def until_status(haproxy: EmbeddedHaproxy, node: int, status: str) -> None:
    until(lambda: status_of(haproxy, node) == status, f"node {node} is not {status}")


async def said(port: int, octets: bytes) -> bytes:
    """All that is answered to *octets* before the connection ends or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    heard = await reader.readuntil(b"\r\n\r\n")
    length = [line for line in heard.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    heard += await reader.readexactly(int(length[0].split(b" ")[1])) if length else await reader.read()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return heard


async def status_told(port: int, octets: bytes) -> int:
    """The status that is answered; 0 if the connection ends without an answer."""
    wire = await Wire.to(port)
    try:
        return (await wire.ask(octets)).status
    except asyncio.IncompleteReadError:
        return 0
    finally:
        wire.close()


@contextlib.contextmanager
def own_haproxy(configuration: str) -> Iterator[EmbeddedHaproxy]:
    """A HAProxy in a folder of its own, which is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    try:
        with EmbeddedHaproxy(folder, configuration) as haproxy:
            yield haproxy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def own_nginx(configuration: str) -> Iterator[EmbeddedNginx]:
    """An nginx in a folder of its own, which is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    try:
        with EmbeddedNginx(folder, configuration) as nginx:
            yield nginx
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def loopback(port: int) -> Address:
    return Address("127.0.0.1", port)


def a_plan(*node_ports: int, **changes: object) -> BalancerPlan:
    """A plan before *node_ports*, on a free port."""
    plan = BalancerPlan(nodes=tuple(map(loopback, node_ports)), listen=loopback(free_ports(1)[0]))
    return replace(plan, **changes)  # type: ignore[arg-type] # whoever names a field gives what it takes


def a_plan_of_nginx(*node_ports: int, **changes: object) -> BalancerPlan:
    """As `a_plan`, with all that it writes in the folder of an `EmbeddedNginx`."""
    return a_plan(*node_ports, cache_folder="cache", failures_log="/dev/stdout", **changes)


@contextlib.asynccontextmanager
async def recording(*acts: Act) -> AsyncIterator[tuple[list[RecordingNode], list[asyncio.Server]]]:
    """As many recording nodes as there are *acts*, and what listens for them."""
    nodes = [RecordingNode(port, act) for port, act in zip(free_ports(len(acts)), acts, strict=True)]
    async with contextlib.AsyncExitStack() as opened:
        servers = []
        for node in nodes:
            servers.append(await asyncio.start_server(node.serve, "127.0.0.1", node.port))
            await opened.enter_async_context(servers[-1])
            opened.callback(node.end)
        yield nodes, servers


@contextlib.asynccontextmanager
async def balanced(*acts: Act, edit: Callable[[str], str] = str, **changes: object) -> AsyncIterator[BalancedByHaproxy]:
    """A HAProxy before as many recording nodes as there are *acts*, all of them ready."""
    async with recording(*acts) as (nodes, servers):
        plan = a_plan(*(node.port for node in nodes), **changes)
        with own_haproxy(edit(haproxy_cfg(plan))) as haproxy:
            balanced = BalancedByHaproxy(plan=plan, nodes=nodes, servers=servers, haproxy=haproxy)
            for number in range(1, len(nodes) + 1):
                await balanced.until_status(number, "UP")
            yield balanced


@contextlib.asynccontextmanager
async def balanced_by_nginx(*acts: Act, **changes: object) -> AsyncIterator[BalancedByNginx]:
    """As `balanced`, with an nginx."""
    async with recording(*acts) as (nodes, servers):
        plan = a_plan_of_nginx(*(node.port for node in nodes), **changes)
        with own_nginx(nginx_conf(plan)) as nginx:
            yield BalancedByNginx(plan=plan, nodes=nodes, servers=servers, nginx=nginx)
