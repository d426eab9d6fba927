"""The queue as one process sees it: connected in the background, for ever anew, and away within a bounded time when it is.

Nothing here can hold up a start or fail it. Every answer is bounded by one patience; what exceeds it ends the connection,
so that whoever waits goes on without the queue, and from then on nobody waits: everything raises `QueueAway` at once, until
a new connection, tried in the background after pauses with jitter, has answered. A server that hangs while nobody asks it
anything is found by a letter to ourselves, sent every so often.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from tidegate.queue.address import QueueAddress
from tidegate.queue.line import Line, Mailbox, status_of
from tidegate.queue.messages import Incoming, Outgoing, QueueAway, StreamMissing, StreamState, place_of

_PAUSE_S_MIN: Final = 0.05
_PAUSE_S_MAX: Final = 1.0
"""Between attempts to connect, doubling, each drawn from its half to its whole, so that nodes do not come back in step."""

_NANOSECONDS: Final = 1_000_000_000
_HEARTBEATS_MISSED: Final = 2

_STREAM_NOT_FOUND: Final = 10059
_CONSUMER_NOT_FOUND: Final = 10014
_NAME_IN_USE: Final = 10058
"""NATS server, server/errors.json."""

_HEARTBEAT: Final = "100"
_NOTHING: Final = ("404", "408")
"""No messages; the request has expired."""


class QueueConnection:
    """One connection to a NATS cluster, made anew when it is lost."""

    def __init__(
        self,
        addresses: Sequence[QueueAddress],
        *,
        name: str,
        timeout_s: float,
        ping_interval_s: float = 1.0,
        on_change: Callable[[bool, str], None] = lambda _is_up, _why: None,
    ) -> None:
        """Nothing is connected before `start`.

        Args:
            addresses: The servers of one cluster; any of them will do.
            name: What an operator sees among the server's connections.
            timeout_s: How long an answer may take before the queue counts as away.
            ping_interval_s: How often to see whether it lives: one that hangs is away after this and *timeout_s*.
            on_change: Told whether the queue is there and why it is not, each time that one of the two changes.
        """
        self._addresses = tuple(addresses)
        self._name = name
        self._timeout_s = timeout_s
        self._ping_interval_s = ping_interval_s
        self._on_change = on_change
        self._line: Line | None = None
        self._lost = asyncio.Event()
        self._up = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._told: tuple[bool, str] | None = None

    @property
    def is_up(self) -> bool:
        """Whether it answers, as far as we know."""
        return self._line is not None

    def start(self) -> None:
        """Begin to connect, and stay connected; returns at once."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def until_up(self) -> None:
        """Wait until it answers."""
        await self._up.wait()

    async def aclose(self) -> None:
        """Hang up and stay away."""
        self._on_change = lambda _is_up, _why: None
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if (line := self._line) is not None:
            line.end()
            await line.until_ended()

    # -- messages out

    async def publish(self, message: Outgoing) -> int:
        """Publish one message and return its place in the stream, once the stream holds it. Raises as `publish_all`."""
        return (await self.publish_all([message]))[0]

    async def publish_all(self, messages: Sequence[Outgoing]) -> list[int]:
        """Publish all *messages* at once and return the place of each, once the stream holds all of them.

        Raises:
            StreamMissing: No stream takes one of them.
            QueueAway: The stream may hold all, some or none of them.
        """
        answers = [_body_of(answer) for answer in await self._open_line().ask_all(messages)]
        for answer in answers:
            _raise_error_in(answer)
        return [int(answer["seq"]) for answer in answers]

    # -- streams and consumers

    async def ensure_stream(self, name: str, config: Mapping[str, Any]) -> StreamState:
        """Make the stream *name*, or change what differs; any number of processes may do so at once.

        Args:
            name: Of the stream.
            config: As the JetStream API calls it (nats.io, StreamConfig); durations in nanoseconds.

        Raises:
            QueueAway: It cannot be had; among others where it exists and cannot be changed so.
        """
        wished = {"name": name, **config}
        try:
            found = await self._api(f"STREAM.INFO.{name}", None)
        except StreamMissing:
            try:
                return _state_of(await self._api(f"STREAM.CREATE.{name}", wished))
            except QueueAway as refused:
                if refused.why != str(_NAME_IN_USE):
                    raise
                found = await self._api(f"STREAM.INFO.{name}", None)  # another process was quicker
        has: dict[str, Any] = found["config"]
        if any(has.get(key) != value for key, value in wished.items()):
            found = await self._api(f"STREAM.UPDATE.{name}", {**has, **wished})
        return _state_of(found)

    async def ensure_consumer(self, stream: str, name: str, config: Mapping[str, Any]) -> None:
        """Make the durable consumer *name* of *stream*, or change what differs; any number of processes may do so at once.

        Args:
            stream: It must exist.
            name: Of the consumer.
            config: As the JetStream API calls it (nats.io, ConsumerConfig); durations in nanoseconds.

        Raises:
            StreamMissing: There is no such stream.
            QueueAway: It cannot be had.
        """
        wished = {"stream_name": stream, "config": {"durable_name": name, "name": name, **config}}
        await self._api(f"CONSUMER.CREATE.{stream}.{name}", wished)

    async def stream_state(self, name: str) -> StreamState:
        """What *name* holds.

        Raises:
            StreamMissing: There is no such stream.
            QueueAway: It does not answer.
        """
        return _state_of(await self._api(f"STREAM.INFO.{name}", None))

    async def unacknowledged(self, stream: str, consumer: str) -> int:
        """How many messages *consumer* has before it: not delivered, or delivered and not acknowledged. Raises as above."""
        found = await self._api(f"CONSUMER.INFO.{stream}.{consumer}", None)
        return int(found["num_pending"]) + int(found["num_ack_pending"])

    # -- messages in

    async def pull(self, stream: str, consumer: str, *, at_most: int, wait_s: float) -> list[Incoming]:
        """Take what waits for *consumer*, at most *at_most*; where nothing does, wait for one message for *wait_s*.

        Each is delivered again, here or to another process, unless it is acknowledged within the consumer's ``ack_wait``.

        Raises:
            StreamMissing: There is no such stream or consumer.
            QueueAway: It does not answer.
        """
        line = self._open_line()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        async with line.mailbox_of_stream() as box:
            taken = await self._take(line, box, subject, {"batch": at_most, "no_wait": True}, wait_s=0.0)
            if not taken and wait_s > 0:
                waiting = {"batch": 1, "expires": round(wait_s * _NANOSECONDS)}
                taken = await self._take(line, box, subject, waiting, wait_s=wait_s)
                if taken and at_most > 1:
                    # Whoever put one has often put more.
                    more = {"batch": at_most - 1, "no_wait": True}
                    taken += await self._take(line, box, subject, more, wait_s=0.0)
        return taken

    async def _take(
        self, line: Line, box: Mailbox, subject: str, request: Mapping[str, Any], *, wait_s: float
    ) -> list[Incoming]:
        await line.send(subject, json.dumps(request).encode(), reply=box.subject)
        taken: list[Incoming] = []
        while len(taken) < request["batch"]:
            try:
                message = await box.take(wait_s + self._timeout_s)
            except QueueAway:
                line.end()
                raise
            status = status_of(message)
            if not status:
                delivery, seq, _ = place_of(message.reply)
                taken.append(Incoming(message.subject, message.data, seq, delivery, message.reply))
            elif status in _NOTHING:
                break
            elif status != _HEARTBEAT:
                # 503: nobody answers; 409: the consumer was deleted, or its server goes down.
                raise StreamMissing(status)
        return taken

    async def ack(self, messages: Sequence[Incoming]) -> None:
        """Say that *messages* need not be delivered again; whether that arrives is not known.

        Raises:
            QueueAway: It cannot be said; they will be delivered again.
        """
        line = self._open_line()
        for message in messages:
            await line.send(message.reply, b"")

    async def put_back(self, messages: Sequence[Incoming], *, delay_s: float) -> None:
        """Let *messages* be delivered again after *delay_s*. Raises as `ack`."""
        line = self._open_line()
        later = b'-NAK {"delay": %d}' % round(delay_s * _NANOSECONDS)
        for message in messages:
            await line.send(message.reply, later)

    async def follow(
        self, stream: str, *, subject: str, after: int, heartbeat_s: float = 1.0
    ) -> AsyncGenerator[Incoming | None, None]:
        """Yield every message on *subject* whose place in *stream* is beyond *after*, in order, without a gap, for ever.

        None stands for a heartbeat: NATS lives, and nothing has come that was not yielded before it. Messages that the
        stream has dropped already are not among them: who must know compares *after* with `stream_state` first. Wrap it in
        `contextlib.aclosing` where the loop may be left early.

        Args:
            stream: Its name.
            subject: May hold wildcards.
            after: A place in the stream; 0: from the beginning.
            heartbeat_s: How often to hear from NATS when there is nothing to tell.

        Raises:
            StreamMissing: There is no such stream.
            QueueAway: It was lost, missed its heartbeats, or a message was; begin again after the last that was yielded.
        """
        line = self._open_line()
        async with line.mailbox_of_stream() as box:
            config = {
                "deliver_subject": box.subject,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": after + 1,
                "filter_subject": subject,
                "ack_policy": "none",
                "max_deliver": 1,
                "idle_heartbeat": round(heartbeat_s * _NANOSECONDS),
                "inactive_threshold": round(10 * _NANOSECONDS),
                "mem_storage": True,
                "num_replicas": 1,
            }
            await self._api(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
            delivered = 0
            while True:
                message = await box.take(heartbeat_s * _HEARTBEATS_MISSED + self._timeout_s)
                status = status_of(message)
                if status == _HEARTBEAT:
                    headers: Mapping[str, str] = message.headers or {}
                    if int(headers.get("Nats-Last-Consumer", 0)) != delivered:
                        raise QueueAway("a message was lost")
                    yield None
                elif status:
                    raise StreamMissing(status)
                else:
                    delivery, seq, place = place_of(message.reply)
                    if place != delivered + 1:
                        raise QueueAway("a message was lost")
                    delivered = place
                    yield Incoming(message.subject, message.data, seq, delivery, message.reply)

    # -- letters: not kept by any stream, delivered to whoever listens now

    async def send(self, subject: str, payload: bytes, *, reply: str = "") -> None:
        """Send a letter to whoever listens to *subject*; whether it arrives is not known.

        Raises:
            QueueAway: It cannot be sent.
        """
        await self._open_line().send(subject, payload, reply=reply)

    @asynccontextmanager
    async def letters(self, subject: str = "") -> AsyncIterator["Letters"]:
        """Listen to *subject*, or to an address of our own, until the block ends.

        Raises:
            QueueAway: It cannot be had.
        """
        async with self._open_line().mailbox_of_stream(subject) as box:
            yield Letters(box)

    # -- the connection itself

    def _open_line(self) -> Line:
        if self._line is None:
            raise QueueAway("it is away")
        return self._line

    async def _api(self, call: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        payload = b"" if body is None else json.dumps(body).encode()
        answer = _body_of(await self._open_line().ask(f"$JS.API.{call}", payload))
        _raise_error_in(answer)
        return answer

    async def _keep(self) -> None:
        pause_s = _PAUSE_S_MIN
        while True:
            if await self._try_to_connect():
                pause_s = _PAUSE_S_MIN
                await self._watch()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    async def _watch(self) -> None:
        """Return when the line is lost, and see to it that a server that hangs loses it."""
        while (line := self._line) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._ping_interval_s):
                    await self._lost.wait()
            if self._line is line:
                with suppress(QueueAway):
                    await line.ping()

    async def _try_to_connect(self) -> bool:
        address = random.choice(self._addresses)  # noqa: S311 - spreads load, guards nothing
        line = Line(timeout_s=self._timeout_s, on_lost=self._note_lost)
        try:
            await line.open(address, name=self._name)
        except QueueAway as away:
            self._tell(is_up=False, why=away.why)
            await line.until_ended()
            return False
        self._lost.clear()
        self._line = line
        self._up.set()
        self._tell(is_up=True, why="")
        return True

    def _note_lost(self, line: Line) -> None:
        if line is not self._line:
            return
        self._line = None
        self._up.clear()
        self._lost.set()
        self._tell(is_up=False, why=line.problem or "it was lost")

    def _tell(self, *, is_up: bool, why: str) -> None:
        if self._told != (is_up, why):
            self._told = (is_up, why)
            self._on_change(is_up, why)


class Letters:
    """What comes to one address.

    Attributes:
        address: Where to others may send.
    """

    def __init__(self, box: Mailbox) -> None:
        self._box = box
        self.address: Final = box.subject

    async def take(self) -> Incoming:
        """Wait for the next letter, as long as the connection lives.

        Raises:
            QueueAway: It was lost.
        """
        message = await self._box.take(None)
        return Incoming(message.subject, message.data, 0, 0, message.reply)


def _body_of(answer: Any) -> dict[str, Any]:  # noqa: ANN401 - a message of nats-py, which only `line` knows
    if status_of(answer):
        raise StreamMissing(status_of(answer))
    try:
        body = json.loads(answer.data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise QueueAway("an answer that is none")
    return body


def _raise_error_in(answer: Mapping[str, Any]) -> None:
    error = answer.get("error")
    if error is None:
        return
    code = error.get("err_code", error.get("code"))
    if code in (_STREAM_NOT_FOUND, _CONSUMER_NOT_FOUND):
        raise StreamMissing(str(code))
    raise QueueAway(str(code))


def _state_of(found: Mapping[str, Any]) -> StreamState:
    state = found["state"]
    return StreamState(str(found["created"]), int(state["first_seq"]), int(state["last_seq"]), int(state["messages"]))
