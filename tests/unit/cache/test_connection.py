"""Commands leave together and answers find whoever asked, whatever becomes of the others."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tidegate.cache import connection as connection_module
from tidegate.cache.connection import CacheAway, CacheRefused, Connection


class Wire(asyncio.Transport):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.is_aborted = True


def connected(test: Callable[[Connection, Wire, list[Connection]], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        lost: list[Connection] = []
        connection, wire = Connection(on_lost=lost.append), Wire()
        connection.connection_made(wire)
        await test(connection, wire, lost)

    asyncio.run(run())


def test_commands_of_one_turn_leave_in_one_write_and_each_gets_its_answer() -> None:
    async def test(connection: Connection, wire: Wire, _lost: object) -> None:
        first, second = connection.ask(b"GET", b"a"), connection.ask(b"INCRBY", b"b", 2)
        assert wire.written == []
        await asyncio.sleep(0)
        assert wire.written == [b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$6\r\nINCRBY\r\n$1\r\nb\r\n$1\r\n2\r\n"]
        connection.data_received(b"$2\r\nx")
        assert not first.done()
        connection.data_received(b"y\r\n:5\r\n")
        assert (await first, await second) == (b"xy", 5)
        assert connection.waiting_since is None

    connected(test)


def test_an_answer_that_nobody_waits_for_any_more_is_not_given_to_the_next() -> None:
    """Else one user's counter would be read as another's."""

    async def test(connection: Connection, wire: Wire, _lost: object) -> None:
        given_up = connection.ask(b"GET", b"a")
        connection.tell(b"INCR", b"b")
        waiting = connection.ask(b"GET", b"c")
        given_up.cancel()
        connection.data_received(b"$1\r\na\r\n:1\r\n$1\r\nc\r\n")
        assert await waiting == b"c"

    connected(test)


def test_a_refusal_is_told_by_its_code_alone() -> None:
    """Its text may quote what was sent, and keys name users."""

    async def test(connection: Connection, wire: Wire, _lost: object) -> None:
        refused, answered = connection.ask(b"INCR", b"secret-key"), connection.ask(b"PING")
        connection.data_received(b"-OOM command not allowed for 'secret-key'\r\n+PONG\r\n")
        with pytest.raises(CacheRefused) as refusal:
            await refused
        assert refusal.value.code == "OOM"
        assert "secret" not in str(refusal.value)
        assert await answered == b"PONG"

    connected(test)


@pytest.mark.parametrize("received", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n"])
def test_what_is_not_an_answer_ends_the_connection(received: bytes) -> None:
    """From there on no answer could be told from another's."""

    async def test(connection: Connection, wire: Wire, lost: list[Connection]) -> None:
        asked = connection.ask(b"PING")
        connection.data_received(received)
        assert wire.is_aborted
        assert lost == [connection]
        if received.startswith(b"HTTP"):
            with pytest.raises(CacheAway):
                await asked
        with pytest.raises(CacheAway):
            connection.ask(b"PING")

    connected(test)


def test_whoever_waits_is_told_when_the_connection_is_lost() -> None:
    async def test(connection: Connection, wire: Wire, lost: list[Connection]) -> None:
        asked = [connection.ask(b"PING") for _ in range(3)]
        connection.connection_lost(None)
        connection.connection_lost(None)
        assert [type(error) for error in await asyncio.gather(*asked, return_exceptions=True)] == [CacheAway] * 3
        assert lost == [connection]

    connected(test)


def test_commands_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs must not fill our memory."""
    monkeypatch.setattr(connection_module, "WAITING_MAX", 2)

    async def test(connection: Connection, wire: Wire, _lost: object) -> None:
        for _ in range(2):
            connection.tell(b"PING")
        with pytest.raises(CacheAway):
            connection.tell(b"PING")
        connection.data_received(b"+PONG\r\n")
        connection.tell(b"PING")

    connected(test)
