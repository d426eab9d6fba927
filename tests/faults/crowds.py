"""A crowd of clients in one event loop: more calls at once than threads could make, at little cost to the cores.

Beside the nodes on the same cores, whatever a client costs is missing from what is measured; so there is only as much HTTP
here as a node's answers need.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlencode

from tests.faults.history import Kind, Recorder
from tests.support.client import FORM

PATIENCE_S: Final = 20.0
_HEAD_END: Final = b"\r\n\r\n"
_BODY_BYTES_MAX: Final = 65_536

_PAUSE_S: Final = 0.2
"""Of who is refused, where that is no storm."""


class _Wire(asyncio.Protocol):
    """One connection. No stream and no task of its own: a call would cost the cores twice as much."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._heard = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.is_last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        """Send *request*; what will be the status and the body of its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(_HEAD_END)
        if end and len(body) >= _length(head):
            self.is_last = b"\r\nconnection: close" in head.lower()
            self._heard = b""
            if self._answer is not None and not self._answer.done():
                self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or EOFError())


@dataclass
class Wires:
    """The connections to each node that are free; who finds none makes another."""

    ports: Mapping[str, int]
    _free: dict[str, list[_Wire]] = field(default_factory=dict)

    async def ask(self, node: str, request: bytes) -> tuple[int, bytes]:
        """The status and the body of the answer to *request*.

        Raises:
            OSError, EOFError, TimeoutError: There was none, or not all of it.
        """
        free = self._free.setdefault(node, [])
        while free and free[-1].transport.is_closing():
            free.pop()
        async with asyncio.timeout(PATIENCE_S):
            wire = free.pop() if free else await self._another(node)
            try:
                answer = await wire.ask(request)
            except BaseException:
                wire.transport.abort()
                raise
        if wire.is_last:
            wire.transport.close()
        else:
            free.append(wire)
        return answer

    async def _another(self, node: str) -> _Wire:
        _, wire = await asyncio.get_running_loop().create_connection(_Wire, "127.0.0.1", self.ports[node])
        return wire

    def close(self) -> None:
        """Hang up."""
        for free in self._free.values():
            for wire in free:
                wire.transport.abort()


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    length = int(rest.partition(b"\r\n")[0]) if rest else 0
    assert length <= _BODY_BYTES_MAX, head
    return length


@dataclass
class Crowd:
    """Calls of many clients, each recorded.

    Attributes:
        password: Of everybody, whose label is 0.
    """

    recorder: Recorder
    wires: Wires
    password: str

    async def log_in(self, node: str, username: str) -> dict[str, Any] | None:
        """The answer that opens a session, if there is one."""
        request = _post("/login", {"username": username, "password": self.password})
        return await self._asked(Kind.LOGIN, node, request, user=username, named_by="username", password=0)

    async def refresh(self, node: str, token: str) -> dict[str, Any] | None:
        """The next pair of tokens, if there is one; of whom is not told."""
        return await self._asked(Kind.REFRESH, node, _post("/refresh", {"refresh_token": token}))

    async def me(self, node: str, token: str) -> dict[str, Any] | None:
        """The profile, if it is told."""
        request = f"GET /me HTTP/1.1\r\nHost: tidegate.test\r\nAuthorization: Bearer {token}\r\n\r\n"
        return await self._asked(Kind.ME, node, request.encode())

    async def _asked(self, kind: Kind, node: str, request: bytes, **known: Any) -> dict[str, Any] | None:
        # A peer that resets is an OSError, one that ends too early an EOFError, and patience that ends a TimeoutError.
        with contextlib.suppress(OSError, EOFError):
            with self.recorder.call(kind, client="crowd", node=node, **known) as under_way:
                under_way.status, body = await self.wires.ask(node, request)
            if under_way.status == 200:
                told: dict[str, Any] = json.loads(body)
                return told
        return None


def _post(path: str, fields: Mapping[str, str]) -> bytes:
    body = urlencode(fields)
    # As nearly every client writes it, so that a node may recognise a login by its octets (ADR 0018).
    return (
        f"POST {path} HTTP/1.1\r\nHost: tidegate.test\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def keep_asking(ask: Callable[[], Awaitable[object]], at_once: int, until_s: float) -> None:
    """A closed loop: *at_once* clients, each of whom asks again as soon as it has what it asks for, until *until_s*."""

    async def one() -> None:
        while time.monotonic() < until_s:
            if await ask() is None:
                await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*(one() for _ in range(at_once)))


async def ask_at(rate_per_s: float, ask: Callable[[], Awaitable[object]], until_s: float) -> None:
    """An open loop: *rate_per_s* calls a second until *until_s*, whatever becomes of those before.

    It returns when all are over.
    """
    began_s, asked = time.monotonic(), 0
    under_way: set[asyncio.Future[object]] = set()
    while (now_s := time.monotonic()) < until_s:
        while asked < (now_s - began_s) * rate_per_s:
            asked += 1
            call = asyncio.ensure_future(ask())
            under_way.add(call)
            call.add_done_callback(under_way.discard)
        await asyncio.sleep(min(0.01, 1 / rate_per_s))
    await asyncio.gather(*under_way)
