"""The driver reads answers however they are cut, counts what it says it counts, and asks as it should."""

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec
import pytest
from bench.driver import (
    Answer,
    AnswerReader,
    Connection,
    Event,
    Load,
    Orders,
    Phase,
    UnreadableAnswerError,
    latency_figures,
    login_requests,
)

OK = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{"access_token":1'
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"
ORDERS = Orders(
    host="127.0.0.1",
    port=8080,
    connections=1,
    username_prefix="bench-",
    users=3,
    password="a b&c=ä",
    seconds=1,
    warm_up_s=0,
)


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed


def with_load(story: Callable[[Load, Connection, FakeTransport], None]) -> list[Event]:
    """Tell *story* of one connection that has asked once; what the load told meanwhile."""
    told: list[Event] = []

    async def run() -> None:
        load = Load(ORDERS, told.append)
        connection, transport = Connection(load), FakeTransport()
        connection.connection_made(transport)
        story(load, connection, transport)

    asyncio.run(run())
    return told


@pytest.mark.parametrize("cut", range(1, len(OK)))
def test_an_answer_is_read_wherever_it_is_cut(cut: int):
    reader = AnswerReader()
    assert reader.feed(OK[:cut]) is None
    assert reader.feed(OK[cut:]) == Answer(200, 0)
    assert reader.feed(BUSY) == Answer(503, 2)


def test_an_answer_is_read_octet_by_octet():
    reader = AnswerReader()
    answers = [reader.feed(OK[at : at + 1]) for at in range(len(OK))]
    assert answers == [None] * (len(OK) - 1) + [Answer(200, 0)]


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length", b"CONTENT-LENGTH"])
def test_header_names_are_read_in_any_case(name: bytes):
    assert AnswerReader().feed(b"HTTP/1.1 404 Not Found\r\n" + name + b":  2 \r\n\r\n{}") == Answer(404, 0)


def test_a_length_in_the_body_or_in_another_header_is_not_the_answer_s():
    head = b"HTTP/1.1 200 OK\r\nX-Content-Length: 9\r\nContent-Length: 22\r\n\r\n"
    assert AnswerReader().feed(head + b"\r\ncontent-length: 99\r\n") == Answer(200, 0)


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"SSH-2.0-server\r\ncontent-length: 0\r\n\r\n",
        OK + b"H",
    ],
)
def test_what_this_driver_cannot_read_ends_the_run(octets: bytes):
    with pytest.raises(UnreadableAnswerError):
        AnswerReader().feed(octets)


def test_every_user_asks_with_a_form_of_the_right_length():
    requests = login_requests(ORDERS)
    assert len(requests) == 3
    for number, request in enumerate(requests):
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /login HTTP/1.1"
        assert f"Content-Length: {len(body)}".encode() in lines
        assert b"Content-Type: application/x-www-form-urlencoded" in lines
        assert parse_qs(body.decode()) == {"username": [f"bench-{number}"], "password": ["a b&c=ä"]}


def test_a_connection_that_is_answered_asks_at_once_as_the_next_user():
    def story(load: Load, connection: Connection, transport: FakeTransport) -> None:
        for _ in range(3):
            connection.data_received(OK)
        assert transport.written == [*login_requests(ORDERS), login_requests(ORDERS)[0]]

    with_load(story)


def test_a_connection_that_is_told_to_come_back_later_waits():
    def story(load: Load, connection: Connection, transport: FakeTransport) -> None:
        load._phase = Phase.MEASURING
        connection.data_received(BUSY)
        assert len(transport.written) == 1
        assert load._by_status == {"503": 1}
        assert load._due == 0

    with_load(story)


def test_only_answers_within_the_time_are_counted_and_only_good_ones_timed():
    def story(load: Load, connection: Connection, transport: FakeTransport) -> None:
        connection.data_received(OK)
        assert load._by_status == {}
        load._phase = Phase.MEASURING
        connection.data_received(OK)
        connection.data_received(OK.replace(b"200", b"403"))
        assert load._by_status == {"200": 1, "403": 1}
        assert len(load._latencies_s) == 1
        load._phase = Phase.DRAINING
        asked = len(transport.written)
        connection.data_received(OK)
        assert load._by_status == {"200": 1, "403": 1}
        assert len(transport.written) == asked
        assert load._due == 0

    with_load(story)


def test_a_connection_that_ends_instead_of_answering_is_counted_as_lost():
    def story(load: Load, connection: Connection, transport: FakeTransport) -> None:
        load._phase = Phase.MEASURING
        transport.is_closed = True
        connection.connection_lost(None)
        assert load._by_status == {"lost": 1}
        assert load._due == 0

    with_load(story)


def test_the_warm_up_lasts_until_every_connection_has_had_an_answer():
    async def run() -> None:
        load = Load(msgspec.structs.replace(ORDERS, connections=2), print)
        first, second = Connection(load), Connection(load)
        for connection in (first, second):
            connection.connection_made(FakeTransport())
        for _ in range(5):
            first.data_received(OK)
        assert not load._all_answered.is_set()
        second.data_received(OK)
        assert load._all_answered.is_set()

    asyncio.run(run())


def test_latencies_are_told_in_milliseconds():
    assert latency_figures([n / 1000 for n in range(1, 101)]) == {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert latency_figures([]) == {}
