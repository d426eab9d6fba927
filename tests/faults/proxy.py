"""A line that can be made slow, cut, deaf or dumb: a TCP proxy of ours between any two parts, told what to do by a test.

It runs in a thread of its own. What it does to a line it does to the connections that stand and to those that come.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

T = TypeVar("T")

_AT_ONCE_BYTES: Final = 65_536
_BEGINNING_BYTES: Final = 1_024
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER for no time: close sends RST, as a machine that has forgotten the connection does."""


@dataclass
class Weather:
    """What a line is like.

    Attributes:
        delay_s: Added to whatever goes through, either way.
        refuses: Connections that stand are reset, and those that come too.
        drops_requests: Nothing more arrives at the server; nobody is told.
        drops_answers: Nothing more arrives at the client; nobody is told.
        cuts_answer_after: The connection is reset when so many bytes of answers have come through; the server has then done
            what it was asked. None: never.
        times: On how many connections to do that; None: on all.
        of: Only the connections are meant whose clients say this when they begin; None: all.
    """

    delay_s: float = 0.0
    refuses: bool = False
    drops_requests: bool = False
    drops_answers: bool = False
    cuts_answer_after: int | None = None
    times: int | None = None
    of: bytes | None = None


_FAIR: Final = Weather()


@dataclass(frozen=True)
class Address:
    """Where a server is: a host and a port, or a Unix socket."""

    host: str = "127.0.0.1"
    port: int = 0
    path: Path | None = None


@dataclass(eq=False)
class _Connection:
    """One that stands: its two ends, and the first that its client said."""

    writers: list[asyncio.StreamWriter]
    said: bytes = b""

    def hear(self, octets: bytes) -> None:
        if len(self.said) < _BEGINNING_BYTES:
            self.said += octets[:_BEGINNING_BYTES]

    def is_meant(self, weather: Weather) -> bool:
        return weather.of is None or weather.of in self.said

    def reset(self) -> None:
        for writer in self.writers:
            _reset(writer)


class Proxy:
    """Any number of lines, in one thread.

    Use it as a context; at the end nobody is connected any more.
    """

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            for line in self._lines:
                line.close()
            # They end by themselves, for their connections have; a task of asyncio's streams must not be cancelled.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=5)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def line(self, upstream: Callable[[], Address]) -> "Line":
        """A new line to *upstream*, which is asked for each connection: servers that are started again may have moved."""
        line = asyncio.run_coroutine_threadsafe(Line.opened(self._loop, upstream), self._loop).result(10)
        self._lines.append(line)
        return line


class Line:
    """One listening port in front of one server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        cut: How many connections it has reset because it was told to.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: Callable[[], Address]) -> None:
        self._loop = loop
        self._upstream = upstream
        self._weather = Weather()
        self._standing: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.cut = 0

    @classmethod
    async def opened(cls, loop: asyncio.AbstractEventLoop, upstream: Callable[[], Address]) -> "Line":
        """Listen."""
        line = cls(loop, upstream)
        line._server = await asyncio.start_server(line._serve, "127.0.0.1", 0, backlog=1024)
        line.port = line._server.sockets[0].getsockname()[1]
        return line

    def close(self) -> None:
        """Listen no more, and end all connections; in the proxy's own thread."""
        if self._server is not None:
            self._server.close()
        self._reset_all()

    @contextlib.contextmanager
    def weather(self, weather: Weather) -> Iterator[None]:
        """Have *weather* in the block, fair weather after it; connections that were deaf or dumb are reset when it ends."""
        self._turn(weather)
        try:
            yield
        finally:
            self._turn(Weather())

    def reset(self) -> None:
        """End all connections that stand, once."""
        self._in_loop(self._reset_all)

    def _turn(self, weather: Weather) -> None:
        def turn() -> None:
            before, self._weather = self._weather, weather
            was_silent = before.drops_requests or before.drops_answers
            # Bytes were lost, so what stands cannot be mended: TCP would have sent them again, we cannot.
            for connection in tuple(self._standing):
                if (weather.refuses and connection.is_meant(weather)) or (was_silent and connection.is_meant(before)):
                    connection.reset()

        self._in_loop(turn)

    def _in_loop(self, act: Callable[[], T]) -> T:
        done: Future[T] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(act()))
        return done.result(10)

    def _reset_all(self) -> None:
        for connection in tuple(self._standing):
            connection.reset()

    def _weather_of(self, connection: _Connection) -> Weather:
        return self._weather if connection.is_meant(self._weather) else _FAIR

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection([writer])
        if self._weather_of(connection).refuses:
            _reset(writer)
            return
        self._standing.add(connection)
        try:
            address = self._upstream()
            connecting = (
                asyncio.open_unix_connection(address.path)
                if address.path is not None
                else asyncio.open_connection(address.host, address.port)
            )
            from_server, upward = await connecting
            connection.writers.append(upward)
            ways = [
                asyncio.ensure_future(self._carry(reader, upward, connection)),
                asyncio.ensure_future(self._carry_back(from_server, writer, connection)),
            ]
            try:
                # One who has sent all may still want to hear; one who has answered all has no more to say to anybody.
                await ways[1]
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            _reset(writer)
        finally:
            self._standing.discard(connection)
            for each in connection.writers:
                each.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection) -> None:
        try:
            while octets := await reader.read(_AT_ONCE_BYTES):
                connection.hear(octets)
                await self._hold_up(connection)
                if self._weather_of(connection).refuses:
                    connection.reset()
                elif not self._weather_of(connection).drops_requests:
                    writer.write(octets)
                    await writer.drain()
        except OSError:  # who is killed with an answer unread ends so, and without a word the server would wait for ever
            if not self._weather_of(connection).drops_requests:
                connection.reset()
            raise
        if not self._weather_of(connection).drops_requests and writer.can_write_eof():
            writer.write_eof()

    async def _carry_back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection
    ) -> None:
        carried = 0
        while octets := await reader.read(_AT_ONCE_BYTES):
            await self._hold_up(connection)
            weather = self._weather_of(connection)
            if weather.drops_answers:
                continue
            limit = weather.cuts_answer_after
            if limit is not None and weather.times != 0:
                octets = octets[: max(0, limit - carried)]
            carried += len(octets)
            writer.write(octets)
            if limit is not None and weather.times != 0 and carried >= limit:
                if weather.times is not None:
                    weather.times -= 1
                self.cut += 1
                await writer.drain()
                connection.reset()
                return
            await writer.drain()

    async def _hold_up(self, connection: _Connection) -> None:
        delay_s = self._weather_of(connection).delay_s
        if delay_s:
            await asyncio.sleep(delay_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    ours: socket.socket | None = writer.get_extra_info("socket")
    if ours is not None and ours.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
