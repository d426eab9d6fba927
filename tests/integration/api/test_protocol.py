"""What a real socket may do to the server, and what it hears."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import uvicorn

from tidegate.api.app import Application
from tidegate.api.errors import Refuser
from tidegate.api.http import Answer, Request
from tidegate.api.protocol import HEAD_BYTES_MAX, BoundedHttpProtocol, cut_slow_clients
from tidegate.api.routing import Route, Router

BAD_REQUEST = b'{"code":"400","message":"invalid request"}'
TOO_LARGE = b'{"code":"413","message":"request too large"}'


async def _echo(request: Request) -> Answer:
    return Answer(200, request.body or b"empty")


async def _slow(request: Request) -> Answer:
    await asyncio.sleep(0.2)
    return Answer(200, b"slow")


@asynccontextmanager
async def a_server() -> AsyncIterator[tuple[int, uvicorn.Server]]:
    application = Application(
        router=Router(
            [Route("POST", "/echo", _echo, reads_body=True), Route("GET", "/echo", _echo), Route("GET", "/slow", _slow)]
        ),
        refuser=Refuser(is_uniform=False),
        deadline_s=5,
        trusted_hops=0,
        on_seen=lambda seen: None,
    )
    config = uvicorn.Config(
        application,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config.load()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1], server
        finally:
            while Connection.opened:
                writer = Connection.opened.pop().writer
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            server.should_exit = True
            await serving


class Connection:
    """Raw bytes to and fro; closed with the server."""

    opened: ClassVar[list["Connection"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int) -> "Connection":
        cls.opened.append(connection := cls(*await asyncio.open_connection("127.0.0.1", port)))
        return connection

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def reply(self) -> tuple[int, bytes]:
        """The next answer on the connection: status and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head.split(b" ")[1]), await self.reader.readexactly(length)

    async def everything(self) -> bytes:
        """What comes until the server closes."""
        return await self.reader.read()


def with_server(test: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), a_server() as (port, _):
            await test(port)

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /echo HTTP/9.9\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_the_contract_s_form(sent):
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(sent)
        answer = await connection.everything()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"content-type: application/json" in answer
        assert answer.endswith(BAD_REQUEST)

    with_server(check)


@pytest.mark.parametrize("size", [HEAD_BYTES_MAX + 1_000, 200_000, 8_000_000])
def test_a_head_over_the_limit_is_refused_and_its_sender_hears_it(size):
    """Eight megabytes are still on their way when the answer is: closing at once would lose it."""

    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(b"GET /echo HTTP/1.1\r\nHost: x\r\nA: " + b"a" * size + b"\r\n\r\n")
        assert await connection.reply() == (413, TOO_LARGE)

    with_server(check)


def test_many_small_headers_over_the_limit_are_refused():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(
            b"GET /echo HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: b\r\n" % i for i in range(5_000)) + b"\r\n"
        )
        assert await connection.reply() == (413, TOO_LARGE)

    with_server(check)


def test_a_head_under_the_limit_passes_however_it_is_cut():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        request = b"GET /echo HTTP/1.1\r\nHost: x\r\nA: " + b"a" * (HEAD_BYTES_MAX - 100) + b"\r\n\r\n"
        for start in range(0, len(request), 999):
            await connection.send(request[start : start + 999])
            await asyncio.sleep(0)
        assert await connection.reply() == (200, b"empty")

    with_server(check)


def test_a_request_byte_by_byte_and_the_next_one_are_served():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        for _ in range(2):
            for octet in b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd":
                await connection.send(bytes([octet]))
            assert await connection.reply() == (200, b"abcd")

    with_server(check)


def test_bodies_do_not_count_as_heads():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        for _ in range(20):
            await connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n" + b"x" * 8_000)
            assert await connection.reply() == (200, b"x" * 8_000)

    with_server(check)


def test_an_eight_megabyte_body_is_refused_and_its_sender_hears_it():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
        await connection.send(b"x" * 900_000)
        assert await connection.reply() == (413, TOO_LARGE)

    with_server(check)


def test_pipelined_requests_are_answered_in_order():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(
            b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
        )
        assert [await connection.reply(), await connection.reply()] == [(200, b"slow"), (200, b"hi")]

    with_server(check)


def test_nonsense_behind_a_request_does_not_overtake_its_answer():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n\0\0nonsense\r\n\r\n")
        answer = await connection.everything()
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"slow" in answer or answer.endswith(BAD_REQUEST)

    with_server(check)


def test_an_offer_of_another_protocol_is_passed_over():
    """Java's client offers h2c with each first request (RFC 9110 section 7.8 lets us ignore it)."""

    async def check(port: int) -> None:
        connection = await Connection.to(port)
        offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
        await connection.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n")
        assert await connection.reply() == (200, b"empty")
        await connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + offer + b"\r\nhi")
        assert await connection.reply() == (200, b"hi")
        await connection.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await connection.reply() == (200, b"empty")

    with_server(check)


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /echo HT", b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"],
    ids=["silent", "head", "body"],
)
def test_who_never_finishes_a_request_is_cut_and_others_are_not(begun):
    async def run() -> None:
        async with asyncio.timeout(20), a_server() as (port, server):
            cutting = asyncio.create_task(cut_slow_clients(server.server_state, receive_deadline_s=0.3, interval_s=0.05))
            idle = await Connection.to(port)
            await idle.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await idle.reply() == (200, b"empty")
            slow = await Connection.to(port)
            await slow.send(begun)
            with contextlib.suppress(ConnectionResetError):
                assert await slow.everything() == b""
            await idle.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await idle.reply() == (200, b"empty"), "a connection at rest between requests is not slow"
            cutting.cancel()

    asyncio.run(run())
