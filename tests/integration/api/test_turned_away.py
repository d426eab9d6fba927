"""Who is turned away unparsed hears what the parser's way would have told, and the connection goes on."""

import asyncio

from tests.integration.api.test_server import Connection, a_server
from tidegate.api import server
from tidegate.api.turnstile import Turnstile
from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane

REFUSED = b'{"code":"503","message":"service unavailable"}'
NOT_FOUND = b'{"code":"404","message":"not found"}'
"""This server has no /login: whatever is parsed ends here."""

LOGIN = (
    b"POST /login HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\nabc"
)
ECHO = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"


def _full(_lane: Lane, *, besides: int) -> None:
    raise HashPoolSaturated(retry_after_s=float(besides))


def closed() -> Turnstile:
    return Turnstile(refuse_if_full=_full, is_crowded=lambda: True)


def test_a_whole_login_is_refused_and_the_connection_serves_on() -> None:
    async def story() -> None:
        async with asyncio.timeout(20), a_server(turnstile=closed(), keep_alive_s=5) as running:
            client = await Connection.to(running.port)
            for _ in range(3):
                await client.send(LOGIN)
                head = await client.reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\ndate: ")
                for header in (b"content-type: application/json", b"cache-control: no-store", b"x-request-id: mine"):
                    assert b"\r\n" + header + b"\r\n" in head
                assert b"\r\nretry-after: " in head
                assert await client.reader.readexactly(len(REFUSED)) == REFUSED
                await client.send(ECHO)
                assert await client.reply() == (200, b"empty")
            assert running.seen == 3 * [("hash_pool_saturated", 503), ("ok", 200)]

    asyncio.run(story())


def test_who_is_turned_away_and_then_rests_is_closed_in_time() -> None:
    async def story() -> None:
        async with asyncio.timeout(20), a_server(turnstile=closed(), keep_alive_s=0.3) as running:
            client = await Connection.to(running.port)
            await client.send(LOGIN)
            assert await client.reply() == (503, REFUSED)
            assert await client.everything() == b""

    asyncio.run(story())


def test_who_is_turned_away_first_thing_is_not_taken_for_slow() -> None:
    async def story() -> None:
        async with asyncio.timeout(20), a_server(turnstile=closed(), receive_deadline_s=0.2) as running:
            client = await Connection.to(running.port)
            await client.send(LOGIN)
            assert await client.reply() == (503, REFUSED)
            await asyncio.sleep(0.6)
            await client.send(ECHO)
            assert await client.reply() == (200, b"empty")

    asyncio.run(story())


def test_what_comes_in_pieces_or_behind_another_request_is_parsed() -> None:
    async def story() -> None:
        async with asyncio.timeout(20), a_server(turnstile=closed()) as running:
            in_pieces = await Connection.to(running.port)
            await in_pieces.send_all([LOGIN[:60], LOGIN[60:]], pause_s=0.05)
            assert await in_pieces.reply() == (404, NOT_FOUND)
            behind = await Connection.to(running.port)
            await behind.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.05)
            await behind.send(LOGIN)
            assert await behind.reply() == (200, b"slow")
            assert await behind.reply() == (404, NOT_FOUND)

    asyncio.run(story())


def test_a_piece_of_a_head_that_looks_like_a_login_is_a_piece_of_a_head() -> None:
    async def story() -> None:
        async with asyncio.timeout(20), a_server(turnstile=closed()) as running:
            client = await Connection.to(running.port)
            await client.send_all([b"GET /echo HTTP/1.1\r\nA: ", LOGIN], pause_s=0.05)
            assert await client.reply() == (200, b"abc")

    asyncio.run(story())


def test_a_head_that_began_behind_another_request_goes_on() -> None:
    """Else one client's octets would be read as two different rows of requests, by us and by a proxy before us."""

    async def story() -> None:
        async with asyncio.timeout(20), a_server(turnstile=closed()) as running:
            client = await Connection.to(running.port)
            await client.send_all([ECHO + b"GET /echo HTTP/1.1\r\nA: ", LOGIN], pause_s=0.05)
            assert await client.reply() == (200, b"empty")
            assert await client.reply() == (200, b"abc")

    asyncio.run(story())


class Unread(asyncio.Transport):
    """To a client that does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False


def test_who_does_not_read_is_told_nothing_more() -> None:
    """Else refusals would pile up in memory for as long as somebody sends."""

    async def story() -> None:
        async with a_server(turnstile=closed()) as running:
            transport = Unread()
            connection = server.Connection(running.server, asyncio.get_running_loop())
            connection.connection_made(transport)
            connection.data_received(LOGIN)
            assert len(transport.written) == 1
            connection.pause_writing()
            connection.data_received(LOGIN)
            assert len(transport.written) == 1
            connection.connection_lost(None)

    asyncio.run(story())


def test_a_body_that_looks_like_a_login_is_a_body() -> None:
    async def story() -> None:
        async with asyncio.timeout(20), a_server(turnstile=closed()) as running:
            client = await Connection.to(running.port)
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(LOGIN)
            await client.send_all([head, LOGIN], pause_s=0.05)
            assert await client.reply() == (200, LOGIN)

    asyncio.run(story())
