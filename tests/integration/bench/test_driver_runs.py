"""The driver as a process, against a server that does as it is told."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
from bench.dialect import TIDEGATE
from bench.orders import Ended, Event, Failed, Measured, Measuring, Opening, Orders, Stream

REPOSITORY = Path(__file__).parents[3]

Answering = Callable[[bytes, bytes], Awaitable[bytes]]
"""Of a request's first line and body, the answer; an empty one means that the connection ends."""


def an_answer(status: str, body: bytes = b"{}", *, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


def tokens(number: int) -> bytes:
    return an_answer("200 OK", b'{"access_token":"a%d","refresh_token":"r%d"}' % (number, number))


def a_stream(call: str, *, connections: int, rate_per_s: float | None = None) -> Stream:
    spoken = getattr(TIDEGATE, call)
    return Stream(
        name=call,
        head=spoken.head,
        body=spoken.body,
        good=spoken.good,
        refresh_at=TIDEGATE.refresh_at,
        connections=connections,
        rate_per_s=rate_per_s,
        first_number=1,
        numbers=20,
    )


def orders(*streams: Stream, sessions: int = 0, seconds: float = 0.3) -> Orders:
    login = TIDEGATE.login
    opening = Opening(
        head=login.head,
        body=login.body,
        good=login.good,
        sessions=sessions,
        access_at=TIDEGATE.access_at,
        refresh_at=TIDEGATE.refresh_at,
    )
    return Orders(
        host="127.0.0.1",
        port=0,
        opening=opening if sessions else None,
        streams=list(streams),
        warm_up_s=0.0,
        seconds=seconds,
        drain_s_max=5.0,
    )


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answering: Answering) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            _, has_body, rest = head.partition(b"Content-Length: ")
            body = await reader.readexactly(int(rest.partition(b"\r\n")[0])) if has_body else b""
            answer = await answering(head, body)
            if not answer:
                writer.close()
                return
            writer.write(answer[:20])  # the driver must take it in pieces
            await asyncio.sleep(0.001)
            writer.write(answer[20:])
    except (asyncio.IncompleteReadError, ConnectionResetError):
        writer.close()


def driven(ordered: Orders, answering: Answering) -> tuple[list[Event], int]:
    """What the driver told and how it ended."""

    async def run() -> tuple[list[Event], int]:
        server = await asyncio.start_server(lambda reader, writer: serve(reader, writer, answering), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        driver = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.driver", cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        async with asyncio.timeout(60):
            told, _ = await driver.communicate(msgspec.json.encode(msgspec.structs.replace(ordered, port=port)))
        server.close()
        assert driver.returncode is not None
        return [msgspec.json.decode(line, type=Event) for line in told.splitlines()], driver.returncode

    return asyncio.run(run())


def measured(ordered: Orders, answering: Answering) -> Measured:
    told, code = driven(ordered, answering)
    assert code == 0
    first, second, last = told
    assert isinstance(first, Measuring)
    assert isinstance(second, Ended)
    assert isinstance(last, Measured)
    return last


def test_a_closed_loop_asks_as_the_next_user_when_it_is_answered():
    asked: list[str] = []

    async def answering(_head: bytes, body: bytes) -> bytes:
        asked.append(parse_qs(body.decode())["username"][0])
        await asyncio.sleep(0.002)
        return an_answer("200 OK")

    found = measured(orders(a_stream("login", connections=8)), answering).streams["login"]
    assert found.by_status.keys() == {"200"}
    assert 0 < found.by_status["200"] == found.good.total <= len(asked) - 8  # each was answered once before
    assert found.good.percentile_ms(1) >= 2
    assert set(asked) == {f"user{number:07d}" for number in range(1, 21)}


def test_an_open_loop_asks_whatever_the_server_does_and_counts_from_when_it_was_due():
    """One connection, 5 ms an answer, 400 due in a second: each waits longer than the one before."""

    async def answering(_head: bytes, _body: bytes) -> bytes:
        await asyncio.sleep(0.005)
        return an_answer("200 OK")

    ordered = orders(a_stream("login", connections=1, rate_per_s=400.0), seconds=0.5)
    found = measured(ordered, answering).streams["login"]
    assert 195 <= found.asked <= 205
    assert found.good.total == found.asked
    assert found.good.percentile_ms(99) >= 200
    assert found.by_status["200"] < found.asked


def test_a_refresh_token_is_handed_in_once_each_after_the_other():
    number = 0
    handed_in: list[str] = []

    async def answering(head: bytes, body: bytes) -> bytes:
        nonlocal number
        number += 1
        if head.startswith(b"POST /refresh"):
            handed_in.append(parse_qs(body.decode())["refresh_token"][0])
        return tokens(number)

    ordered = orders(a_stream("refresh", connections=4), a_stream("me", connections=2, rate_per_s=50.0), sessions=6)
    found = measured(ordered, answering).streams
    assert found["refresh"].by_status.keys() == {"200"}
    assert found["me"].by_status.keys() == {"200"}
    assert len(handed_in) == len(set(handed_in)) > 8


def test_a_connection_that_ends_is_counted_as_lost_and_replaced():
    """Each of the two connections, and of their first successors, ends instead of answering."""
    asked = 0

    async def answering(_head: bytes, _body: bytes) -> bytes:
        nonlocal asked
        asked += 1
        return b"" if asked <= 4 else an_answer("404 Not Found")

    ordered = orders(a_stream("unknown", connections=2), seconds=1.0)
    found = measured(ordered, answering).streams["unknown"]
    assert found.by_status["lost"] > 0
    assert found.by_status["404"] == found.good.total > 0


def test_the_warm_up_lasts_until_every_connection_has_had_an_answer():
    """The first answers take three times as long as the window."""
    asked = 0

    async def answering(_head: bytes, _body: bytes) -> bytes:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.3 if asked <= 4 else 0.001)
        return an_answer("200 OK")

    found = measured(orders(a_stream("login", connections=4), seconds=0.1), answering).streams["login"]
    assert found.by_status["200"] > 0
    assert found.good.percentile_ms(100) < 300


def test_who_is_told_to_come_back_later_does_so_in_a_closed_loop():
    asked = 0

    async def answering(_head: bytes, _body: bytes) -> bytes:
        nonlocal asked
        asked += 1
        return an_answer("503 Service Unavailable", headers="Retry-After: 30\r\n")

    found = measured(orders(a_stream("login", connections=3)), answering).streams["login"]
    assert asked == 3
    assert found.good.total == 0


def test_it_gives_up_with_a_sentence_on_what_it_cannot_read_and_where_nobody_can_log_in():
    async def unreadable(_head: bytes, _body: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\n\r\n"

    async def refusing(_head: bytes, _body: bytes) -> bytes:
        return an_answer("200 OK")

    for ordered, answering in (
        (orders(a_stream("login", connections=1)), unreadable),
        (orders(a_stream("me", connections=1), sessions=1), refusing),
    ):
        told, code = driven(ordered, answering)
        assert code == 1
        assert isinstance(told[-1], Failed)
        assert told[-1].reason.endswith(".")


def test_a_stream_of_so_many_requests_ends_the_window_when_the_last_is_answered():
    asked = []

    async def answer(_: bytes, body: bytes) -> bytes:
        asked.append(body)
        return an_answer("200 OK")

    stream = msgspec.structs.replace(a_stream("login", connections=3), requests=20)
    found = measured(orders(stream, seconds=50.0), answer)
    assert len(asked) == len(set(asked)) == 20  # each user once
    assert found.seconds < 50
    assert found.streams["login"].by_status["200"] + 3 >= 20  # the first of each connection may be warm-up
    assert found.streams["login"].unanswered == 0
