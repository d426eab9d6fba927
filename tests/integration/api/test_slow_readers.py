"""Who does not read the last of its answers must not keep its connection for ever."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from tests.support.waiting import until_so
from tests.support.wires import slow_reader
from tidegate.api.app import Application
from tidegate.api.errors import Refuser
from tidegate.api.http import Answer, Request
from tidegate.api.routing import Route, Router
from tidegate.api.server import HttpServer

SOON_S: Final = 0.3

PIECE: Final = b"x" * 4_000
"""Of an answer: far less than what the event loop holds before it calls a client slow (64 KiB)."""


async def _piece(request: Request) -> Answer:
    return Answer(200, PIECE)


@asynccontextmanager
async def a_server() -> AsyncIterator[tuple[HttpServer, int]]:
    """One that loses patience soon, and its port."""
    application = Application(
        router=Router([Route("GET", "/piece", _piece)]),
        turnstile=lambda _: None,
        refuser=Refuser(is_uniform=False),
        trusted_hops=0,
        on_seen=lambda request, status: None,
    )
    server = HttpServer(
        application=application, request_deadline_s=5, receive_deadline_s=SOON_S, keep_alive_s=SOON_S, is_uniform=False
    )
    stop = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(listener, until=stop, drain_s=1, backlog=10))
        try:
            yield server, listener.getsockname()[1]
        finally:
            stop.set()
            await serving


async def leave_an_answer_unread(server: HttpServer, client: socket.socket) -> None:
    """Ask until not everything fits into what the kernel holds, and no longer."""
    loop = asyncio.get_running_loop()
    await until_so(lambda: len(server.connections) == 1, "it is not accepted")
    (connection,) = server.connections
    while not connection._transport.get_write_buffer_size():
        server.resting.clear()
        await loop.sock_sendall(client, b"GET /piece HTTP/1.1\r\nHost: x\r\n\r\n")
        await until_so(lambda: connection in server.resting, "it is not answered")
    assert connection not in server.stalled, "the event loop would have told that by itself"


async def rest(client: socket.socket) -> None:
    """Neither read nor ask."""


async def ask_for_the_end(client: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(client, b"GET /piece HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def send_no_more(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


async def send_nonsense(client: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(client, b"nonsense\r\n\r\n")


@pytest.mark.parametrize("end", [rest, ask_for_the_end, send_no_more, send_nonsense])
def test_who_leaves_the_end_of_an_answer_unread_is_cut(end: Callable[[socket.socket], Awaitable[None]]) -> None:
    """What is left is less than makes a client slow, so the close would wait for its reading, and for nothing else."""

    async def run() -> None:
        async with a_server() as (server, port):
            with await slow_reader(port) as client:
                await leave_an_answer_unread(server, client)
                await end(client)
                await until_so(lambda: not server.connections, "it is not cut")
            assert not any(since_of for since_of, _, _ in server._deadlines), "nothing of it is left"

    asyncio.run(run())
