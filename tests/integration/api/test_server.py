"""What a real socket may do to the server, and what it hears."""

import asyncio
import contextlib
import itertools
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

import tidegate.api.server as server_module
from tidegate.api.app import Application
from tidegate.api.clients import Client, current_client
from tidegate.api.errors import Refuser
from tidegate.api.http import Answer, Request
from tidegate.api.routing import Route, Router
from tidegate.api.server import HEAD_BYTES_MAX, HttpServer
from tidegate.api.turnstile import TurnedAway

BAD_REQUEST = b'{"code":"400","message":"invalid request"}'
TOO_LARGE = b'{"code":"413","message":"request too large"}'


async def _echo(request: Request) -> Answer:
    return Answer(200, request.body or b"empty")


async def _slow(request: Request) -> Answer:
    await asyncio.sleep(0.2)
    return Answer(200, b"slow")


async def _stuck(request: Request) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def _large(request: Request) -> Answer:
    return Answer(200, b"x" * 1_000_000)


async def _unmodified(_request: Request) -> Answer:
    return Answer(304, b"what it would have said")


class Running:
    """A server on a free port."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int | None]] = []
        self.something_seen = asyncio.Event()
        self.stop = asyncio.Event()
        self._clients: asyncio.Queue[Client | None] = asyncio.Queue()
        self.port = 0
        self.server: HttpServer

    async def watch(self, _request: Request) -> Answer:
        self._clients.put_nowait(current_client())
        return await _slow(_request)

    async def client(self) -> Client:
        """For whom the next request to /watched is answered."""
        client = await self._clients.get()
        assert client is not None
        return client

    def note(self, request: Request, status: int | None) -> None:
        self.seen.append((request.outcome, status))
        self.something_seen.set()


@asynccontextmanager
async def a_server(
    *,
    request_deadline_s: float = 5,
    receive_deadline_s: float = 5,
    keep_alive_s: float = 5,
    drain_s: float = 2,
    notice_s: float = 0,
    is_uniform: bool = False,
    turnstile: Callable[[bytes], TurnedAway | None] = lambda _: None,
) -> AsyncIterator[Running]:
    running = Running()
    application = Application(
        router=Router(
            [
                Route("POST", "/echo", _echo),
                Route("GET", "/echo", _echo),
                Route("GET", "/slow", _slow),
                Route("GET", "/stuck", _stuck),
                Route("GET", "/large", _large),
                Route("GET", "/unmodified", _unmodified),
                Route("GET", "/watched", running.watch),
            ]
        ),
        turnstile=turnstile,
        refuser=Refuser(is_uniform=False),
        trusted_hops=0,
        on_seen=running.note,
    )
    server = HttpServer(
        application=application,
        request_deadline_s=request_deadline_s,
        receive_deadline_s=receive_deadline_s,
        keep_alive_s=keep_alive_s,
        is_uniform=is_uniform,
    )
    running.server = server
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        running.port = listener.getsockname()[1]
        serving = asyncio.create_task(
            server.serve(listener, until=running.stop, drain_s=drain_s, backlog=100, notice_s=notice_s)
        )
        try:
            yield running
        finally:
            while Connection.opened:
                writer = Connection.opened.pop().writer
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            running.stop.set()
            await serving
            assert not server.connections


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

    async def send_all(self, pieces: Iterable[bytes], *, pause_s: float) -> None:
        for piece in pieces:
            await self.send(piece)
            await asyncio.sleep(pause_s)

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
        async with asyncio.timeout(20), a_server() as running:
            await test(running.port)

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
        async with asyncio.timeout(20), a_server(receive_deadline_s=0.3) as running:
            idle = await Connection.to(running.port)
            await idle.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await idle.reply() == (200, b"empty")
            slow = await Connection.to(running.port)
            await slow.send(begun)
            with contextlib.suppress(ConnectionResetError):
                assert await slow.everything() == b""
            await idle.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await idle.reply() == (200, b"empty"), "a connection at rest between requests is not slow"

    asyncio.run(run())


def test_who_drips_a_request_is_cut_though_something_always_comes():
    async def run() -> None:
        async with asyncio.timeout(20), a_server(receive_deadline_s=0.3) as running:
            slow = await Connection.to(running.port)
            request = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n" + b"x" * 4000
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await slow.send_all((bytes([octet]) for octet in request), pause_s=0.01)

    asyncio.run(run())


def test_who_rests_too_long_is_closed():
    async def run() -> None:
        async with asyncio.timeout(20), a_server(keep_alive_s=0.2) as running:
            connection = await Connection.to(running.port)
            await connection.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await connection.reply() == (200, b"empty")
            assert await connection.everything() == b""

    asyncio.run(run())


def test_who_does_not_read_is_cut():
    """A thousand answers of a megabyte each are asked for and none is read."""

    async def run() -> None:
        async with asyncio.timeout(20), a_server(receive_deadline_s=0.3) as running:
            connection = await Connection.to(running.port)
            connection.reader._transport.pause_reading()  # type: ignore[attr-defined] # what a client that hangs does
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await connection.send_all(itertools.repeat(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"), pause_s=0.02)

    asyncio.run(run())


def test_a_request_ends_by_its_deadline():
    """Promise P10."""

    async def run() -> None:
        async with asyncio.timeout(20), a_server(request_deadline_s=0.2) as running:
            connection = await Connection.to(running.port)
            for _ in range(2):
                await connection.send(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await connection.reply() == (503, b'{"code":"503","message":"service unavailable"}')
            assert running.seen == [("deadline_exceeded", 503)] * 2

    asyncio.run(run())


def test_what_is_asked_before_the_end_is_answered_at_the_end():
    """A client that has shut its sending side still hears its answer; so does one that is there when we stop."""

    async def run() -> None:
        async with asyncio.timeout(20), a_server() as running:
            half = await Connection.to(running.port)
            await half.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            half.writer.write_eof()
            assert await half.reply() == (200, b"slow")
            asking = await Connection.to(running.port)
            resting = await Connection.to(running.port)
            await asking.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.05)
            running.stop.set()
            assert (await asking.everything()).endswith(b"slow")
            assert await resting.everything() == b""

    asyncio.run(run())


def test_who_is_given_notice_is_answered_and_told_that_the_connection_ends_with_it():
    """A load balancer still sends until it has heard that the node stops. None of that may be lost (ADR 0020)."""

    async def run() -> None:
        async with asyncio.timeout(20), a_server(notice_s=3) as running:
            resting, asking = await Connection.to(running.port), await Connection.to(running.port)
            await resting.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await resting.reply() == (200, b"empty")
            await asking.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.05)
            running.stop.set()
            await asyncio.sleep(0.05)
            new = await Connection.to(running.port)
            for each in (resting, new):
                await each.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            for each, body in ((resting, b"empty"), (new, b"empty"), (asking, b"slow")):
                heard = await each.everything()
                assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
                assert b"\r\nconnection: close\r\n" in heard
                assert heard.endswith(body)

    asyncio.run(run())


def test_what_follows_the_last_answer_of_a_connection_is_not_done():
    """Its client hears "connection: close" and may send it again elsewhere (RFC 9112 section 9.6); twice done is wrong."""

    async def run() -> None:
        async with asyncio.timeout(20), a_server(notice_s=3) as running:
            resting = await Connection.to(running.port)
            await asyncio.sleep(0.05)
            running.stop.set()
            await asyncio.sleep(0.05)
            await resting.send(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            assert (await resting.everything()).count(b"HTTP/1.1 200 OK") == 1
            assert running.seen == [("ok", 200)]

    asyncio.run(run())


def test_who_has_come_by_the_end_of_the_notice_is_answered_though_nobody_had_time_for_them(monkeypatch):
    """nginx goes on sending to the end, and repeats no POST (docs/BALANCER.md)."""
    monkeypatch.setattr(server_module, "_LATE_S", 1.0)  # a machine that does much else may take its time

    async def run() -> None:
        async with asyncio.timeout(20), a_server(notice_s=0.2) as running:
            running.stop.set()
            await asyncio.sleep(0.1)
            with socket.create_connection(("127.0.0.1", running.port)) as late:
                time.sleep(0.3)  # noqa: ASYNC251 - the event loop is to be busy while the notice ends
                await asyncio.sleep(0.2)
                late.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
                heard = await asyncio.to_thread(lambda: b"".join(iter(lambda: late.recv(1000), b"")))
            assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nconnection: close\r\n" in heard

    asyncio.run(run())


def test_after_the_notice_who_rests_is_closed_and_nobody_new_is_let_in():
    async def run() -> None:
        async with asyncio.timeout(20), a_server(notice_s=0.2) as running:
            resting = await Connection.to(running.port)
            running.stop.set()
            assert await resting.everything() == b""
            with pytest.raises(ConnectionRefusedError):
                await Connection.to(running.port)

    asyncio.run(run())


def test_a_stop_waits_for_nobody_for_ever():
    async def run() -> None:
        async with asyncio.timeout(20), a_server(drain_s=0.2) as running:
            stuck = await Connection.to(running.port)
            await stuck.send(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.05)
            running.stop.set()
            with contextlib.suppress(ConnectionResetError):
                assert await stuck.everything() == b""

    asyncio.run(run())


def test_who_hangs_up_is_told_to_the_log_and_nobody_else():
    async def run() -> None:
        async with asyncio.timeout(20), a_server() as running:
            gone = await Connection.to(running.port)
            await gone.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.05)
            gone.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.writer.transport.abort()  # a reset: an end of sending alone would still want its answer
            await running.something_seen.wait()
            assert running.seen == [("client_gone", None)]

    asyncio.run(run())


@pytest.mark.parametrize("is_uniform", [False, True])
def test_whoever_works_for_a_client_hears_when_it_leaves(is_uniform):
    """In the hardened profile only what it cannot observe itself: that its connection is lost."""

    async def run() -> None:
        async with asyncio.timeout(20), a_server(is_uniform=is_uniform) as running:
            connection = await Connection.to(running.port)
            await connection.send(b"GET /watched HTTP/1.1\r\nHost: x\r\n\r\n")
            client = await running.client()
            assert (client.may_have_gone, client.has_gone) == (False, False)
            left = asyncio.Event()
            client.on_leaving = left.set
            connection.writer.write_eof()
            if is_uniform:
                await asyncio.sleep(0.05)
                assert not client.may_have_gone
            else:
                await left.wait()
                assert (client.may_have_gone, client.has_gone) == (True, False)
                left.clear()
            connection.writer.transport.abort()
            await left.wait()
            assert client.has_gone

    asyncio.run(run())


def test_each_connection_is_a_client_of_its_own():
    async def run() -> None:
        async with asyncio.timeout(20), a_server() as running:
            clients = []
            for _ in range(2):
                connection = await Connection.to(running.port)
                await connection.send(b"GET /watched HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
                clients.append(await running.client())
            assert clients[0] is not clients[1]
            assert current_client() is None

    asyncio.run(run())


def test_who_hangs_up_within_a_request_is_told_to_the_log():
    async def run() -> None:
        async with asyncio.timeout(20), a_server() as running:
            gone = await Connection.to(running.port)
            await gone.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf")
            gone.writer.close()
            await running.something_seen.wait()
            assert running.seen == [("client_gone", None)]

    asyncio.run(run())


def test_a_head_request_has_the_headers_and_no_body():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(b"HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await connection.everything()
        assert b"content-length: 5" in answer
        assert answer.endswith(b"\r\n\r\n")

    with_server(check)


def test_a_304_ends_with_its_head_whatever_the_answer_holds():
    """What came behind it would be read as the next answer of the connection."""

    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(
            b"GET /unmodified HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        unmodified, _, echoed = (await connection.everything()).partition(b"\r\n\r\n")
        assert unmodified.startswith(b"HTTP/1.1 304 ")
        assert b"content-length" not in unmodified
        assert echoed.startswith(b"HTTP/1.1 200 ")

    with_server(check)


def test_a_client_that_asks_first_is_told_to_go_on_or_not_to():
    """RFC 9110 section 10.1.1."""

    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.send(b"hi")
        assert await connection.reply() == (200, b"hi")
        await connection.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000\r\n\r\n")
        assert await connection.reply() == (413, TOO_LARGE)

    with_server(check)


def test_many_pipelined_requests_are_all_answered():
    async def check(port: int) -> None:
        connection = await Connection.to(port)
        await connection.send(
            b"".join(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n%04d" % i for i in range(500))
        )
        for i in range(500):
            assert await connection.reply() == (200, b"%04d" % i)

    with_server(check)


def test_http_1_0_and_connection_close_end_with_their_answer():
    async def check(port: int) -> None:
        for request in (b"GET /echo HTTP/1.0\r\n\r\n", b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
            connection = await Connection.to(port)
            await connection.send(request)
            answer = await connection.everything()
            assert b"connection: close" in answer
            assert answer.endswith(b"empty")

    with_server(check)
