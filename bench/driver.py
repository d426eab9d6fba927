"""Keeps a number of connections busy with logins, in a process of its own, so that its cost is counted apart.

A closed loop: each connection asks, waits for the answer and asks again; told to come back later (Retry-After), it does.
The process reads `Orders` from standard input, one JSON object, and writes one a line to standard output: `Measuring` when
the warm-up is over, `Measured` when the time is, `Drained` when no answer is due any more.
"""

import asyncio
import resource
import sys
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from itertools import cycle
from time import monotonic
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import urlencode

import msgspec
import uvloop
from bench.figures import percentile

HEAD_END: Final = b"\r\n\r\n"
RECONNECT_AFTER_S: Final = 0.1
DRAIN_S_MAX: Final = 60.0


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        host: Of the server.
        port: Of the server.
        connections: How many, kept alive.
        username_prefix: Users are this and a number from 0.
        users: How many there are; each request is for the next one, so that no two under way are for the same.
        password: Of all of them.
        seconds: How long to measure.
        warm_up_s: How long to run before that, and at least until every connection has had an answer.
    """

    host: str
    port: int
    connections: int
    username_prefix: str
    users: int
    password: str
    seconds: float
    warm_up_s: float


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured", tag_field="event"):
    """What came of it.

    Attributes:
        seconds: How long it was measured.
        by_status: Answers by status, in that time; `lost` counts connections that ended instead of answering.
        latency_ms: Of the answers with status 200, from the last octet asked to the last octet answered, by percentile.
        driver_cpu_s: What this process spent meanwhile.
    """

    seconds: float
    by_status: dict[str, int]
    latency_ms: dict[str, float]
    driver_cpu_s: float


class Measuring(msgspec.Struct, frozen=True, tag="measuring", tag_field="event"):
    """The warm-up is over."""


class Drained(msgspec.Struct, frozen=True, tag="drained", tag_field="event"):
    """No answer is due any more."""


Event = Measuring | Measured | Drained


class UnreadableAnswerError(Exception):
    """The server does not answer as this driver can read."""


class Answer(NamedTuple):
    """What is read of an answer.

    Attributes:
        status: The status code.
        retry_after_s: Header Retry-After, 0 without one.
    """

    status: int
    retry_after_s: int


class AnswerReader:
    """Reads one HTTP/1.1 answer after the other, whatever pieces it comes in; knows Content-Length only."""

    __slots__ = ("_buffer", "_length")

    def __init__(self) -> None:
        self._buffer = b""
        self._length = 0

    def feed(self, octets: bytes) -> Answer | None:
        """Return the answer that *octets* complete, or None while some are missing.

        Raises:
            UnreadableAnswerError: It has no Content-Length, is no HTTP/1.1, or more comes than was asked for.
        """
        self._buffer = buffer = self._buffer + octets if self._buffer else octets
        if not self._length:
            head_end = buffer.find(HEAD_END)
            if head_end < 0:
                return None
            length = _number(buffer[: head_end + 2], b"content-length")
            if length is None:
                raise UnreadableAnswerError("an answer has no Content-Length")
            self._length = head_end + len(HEAD_END) + length
        if len(buffer) < self._length:
            return None
        if len(buffer) > self._length or not buffer.startswith(b"HTTP/1.1 "):
            raise UnreadableAnswerError("the server sent something else than one HTTP/1.1 answer")
        retry_after_s = _number(buffer[: buffer.find(HEAD_END) + 2], b"retry-after")
        self._buffer, self._length = b"", 0
        return Answer(int(buffer[9:12]), retry_after_s or 0)


def _number(head: bytes, name: bytes) -> int | None:
    """Return the number that header *name*, in lower case, has in *head*, or None."""
    _, _, rest = head.lower().partition(b"\r\n" + name + b":")
    value = rest.partition(b"\r\n")[0].strip()
    return int(value) if value.isdigit() else None


def login_requests(orders: Orders) -> list[bytes]:
    """Return one request for each user, ready to be sent."""
    made = []
    for number in range(orders.users):
        body = urlencode({"username": f"{orders.username_prefix}{number}", "password": orders.password}).encode()
        head = (
            f"POST /login HTTP/1.1\r\nHost: {orders.host}:{orders.port}\r\nUser-Agent: tidegate-bench\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


class Phase(Enum):
    """Where a run is."""

    WARMING_UP = auto()
    MEASURING = auto()
    DRAINING = auto()


class Load:
    """All connections, and what they have seen.

    Args:
        orders: What to do.
        tell: Told each event.
    """

    def __init__(self, orders: Orders, tell: Callable[[Event], None]) -> None:
        self._orders = orders
        self._tell = tell
        self._requests = cycle(login_requests(orders))
        self._phase = Phase.WARMING_UP
        self._by_status: Counter[str] = Counter()
        self._latencies_s: list[float] = []
        self._due = 0
        self._yet_unanswered = orders.connections
        self._all_answered = asyncio.Event()
        self._none_due = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Connect, warm up, measure and drain.

        Raises:
            UnreadableAnswerError: As `AnswerReader`.
            OSError: The server is not there.
            TimeoutError: Answers that are due do not come.
        """
        asyncio.get_running_loop().set_exception_handler(self._fail_by)
        for _ in range(self._orders.connections):
            await self._connect()
        running = asyncio.create_task(self._phases())
        await asyncio.wait({running, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            running.cancel()
            self._failed.result()
        await running

    async def _phases(self) -> None:
        orders = self._orders
        await asyncio.sleep(orders.warm_up_s)
        async with asyncio.timeout(DRAIN_S_MAX):
            await self._all_answered.wait()
        self._phase = Phase.MEASURING
        started_at, cpu_s = monotonic(), _own_cpu_s()
        self._tell(Measuring())
        await asyncio.sleep(orders.seconds)
        self._phase = Phase.DRAINING
        self._tell(
            Measured(
                seconds=monotonic() - started_at,
                by_status=dict(self._by_status),
                latency_ms=latency_figures(self._latencies_s),
                driver_cpu_s=_own_cpu_s() - cpu_s,
            )
        )
        async with asyncio.timeout(DRAIN_S_MAX):
            while self._due:
                self._none_due.clear()
                await self._none_due.wait()
        self._tell(Drained())

    async def _connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: Connection(self), self._orders.host, self._orders.port)

    # Called by the connections.

    def next_request(self) -> bytes | None:
        """Return what to ask next, None when it is enough."""
        if self._phase is Phase.DRAINING:
            return None
        self._due += 1
        return next(self._requests)

    def answered(self, answer: Answer, latency_s: float, *, is_first: bool) -> None:
        """Count an answer that came *latency_s* after its request."""
        self._no_longer_due(is_first=is_first)
        if self._phase is Phase.MEASURING:
            self._by_status[str(answer.status)] += 1
            if answer.status == 200:
                self._latencies_s.append(latency_s)

    def lost(self, *, is_first: bool) -> None:
        """Count a connection that ended while an answer was due, and make another."""
        self._no_longer_due(is_first=is_first)
        if self._phase is Phase.MEASURING:
            self._by_status["lost"] += 1
        self.reconnect()

    def reconnect(self) -> None:
        """Make another connection for one that ended."""
        if self._phase is not Phase.DRAINING:
            loop = asyncio.get_running_loop()
            loop.call_later(RECONNECT_AFTER_S, lambda: loop.create_task(self._try_to_connect()))

    def fail(self, error: Exception) -> None:
        """End the run with *error*."""
        if not self._failed.done():
            self._failed.set_exception(error)

    def _fail_by(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what a callback raised for the end of the run: it would only be logged, and the run never end."""
        self.fail(context.get("exception") or RuntimeError(context["message"]))

    async def _try_to_connect(self) -> None:
        try:
            await self._connect()
        except OSError as error:
            self.fail(error)

    def _no_longer_due(self, *, is_first: bool) -> None:
        self._due -= 1
        if not self._due:
            self._none_due.set()
        if is_first:
            self._yet_unanswered -= 1
            if self._yet_unanswered <= 0:
                self._all_answered.set()


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._reader = AnswerReader()
        self._sent_at = 0.0
        self._is_due = False
        self._is_first = True
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are, but do not say so
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Ask again if the answer is complete."""
        try:
            answer = self._reader.feed(data)
        except UnreadableAnswerError as error:
            self._load.fail(error)
            return
        if answer is None:
            return
        self._is_due = False
        self._load.answered(answer, monotonic() - self._sent_at, is_first=self._is_first)
        self._is_first = False
        if answer.retry_after_s:
            asyncio.get_running_loop().call_later(answer.retry_after_s, self._ask)
        else:
            self._ask()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Let another take its place."""
        if self._is_due:
            self._is_due = False
            self._load.lost(is_first=self._is_first)
        else:
            self._load.reconnect()

    def _ask(self) -> None:
        if self._transport.is_closing():
            return
        request = self._load.next_request()
        if request is not None:
            self._is_due = True
            self._sent_at = monotonic()
            self._transport.write(request)


def latency_figures(latencies_s: list[float]) -> dict[str, float]:
    """Return the percentiles that a table shows, in milliseconds; empty when nothing was answered."""
    if not latencies_s:
        return {}
    wanted: dict[Literal["p50", "p95", "p99", "max"], float] = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
    return {name: percentile(latencies_s, percent) * 1000 for name, percent in wanted.items()}


def _own_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _tell(event: Event) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


async def _main() -> None:
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    await Load(orders, _tell).run()


if __name__ == "__main__":
    uvloop.run(_main())
