"""One connection to one NATS server, from its opening to its end: the only place that knows nats-py.

nats-py connects again by itself, but leaves whoever waits for an answer waiting, and does not say what was lost meanwhile.
So a line lives once: the first thing that goes wrong ends it, everybody who waits on it hears so at once, and
`connection.QueueConnection` makes another.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from tidegate.queue.address import QueueAddress
from tidegate.queue.messages import Outgoing, QueueAway, StreamMissing

_NO_RESPONDERS: Final = "503"

# Where nats-py meets a message that it cannot read, its log would quote it; what matters of it reaches us as an end.
logging.getLogger("nats").addHandler(logging.NullHandler())
logging.getLogger("nats").propagate = False


class Mailbox:
    """What comes for one asker, in its order."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._waiting: asyncio.Future[None] | None = None
        self._messages: deque[Msg] = deque()
        self._is_lost = False

    def put(self, message: Msg) -> None:
        """Called by the line."""
        self._messages.append(message)
        self._wake()

    def lose(self) -> None:
        """Called by the line at its end."""
        self._is_lost = True
        self._wake()

    async def take(self, timeout_s: float | None) -> Msg:
        """Return the next message; None: wait as long as the line lives.

        Raises:
            QueueAway: None came in time, or none will.
        """
        if not self._messages:
            if not self._is_lost:
                self._waiting = asyncio.get_running_loop().create_future()
                try:
                    async with asyncio.timeout(timeout_s):
                        await self._waiting
                except TimeoutError:
                    raise QueueAway("no answer in time") from None
                finally:
                    self._waiting = None
            if not self._messages:
                raise QueueAway("it was lost")
        return self._messages.popleft()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Line:
    """One connection.

    Args:
        timeout_s: How long any answer may take; what takes longer ends the line.
        on_lost: Called once, when nothing can be asked here any more.
    """

    def __init__(self, *, timeout_s: float, on_lost: Callable[["Line"], None]) -> None:
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._client = Client()
        self._inbox = ""
        self._boxes: dict[str, Mailbox] = {}
        self._boxes_made = 0
        self._is_open = False
        self._ending: asyncio.Task[None] | None = None
        self.problem = ""

    async def open(self, address: QueueAddress, *, name: str) -> None:
        """Connect, and let the server answer once.

        Raises:
            QueueAway: It cannot be reached, refuses us, or does not answer in time.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                # First by hand: where nobody listens, nats-py pauses and tries again before it says so.
                _, probing = await asyncio.open_connection(address.host, address.port)
                probing.close()
                await self._connect(address, name)
        except TimeoutError:
            self.end()
            raise QueueAway("no answer in time") from None
        except QueueAway:
            self.end()
            raise
        except Exception as error:  # of what is no NATS server nats-py raises anything, and who connects must go on
            self.end()
            raise QueueAway(self.problem or type(error).__name__) from None
        except BaseException:
            self.end()
            raise

    async def _connect(self, address: QueueAddress, name: str) -> None:
        client = self._client
        await client.connect(
            address.url,
            name=name,
            user=address.username if address.password else None,
            password=address.password or None,
            token=address.username if address.username and not address.password else None,
            tls=ssl.create_default_context() if address.uses_tls else None,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=max(1, round(self._timeout_s)),
            flush_timeout=self._timeout_s,
            error_cb=self._note_problem,
            disconnected_cb=self._note_end,
            closed_cb=self._note_end,
        )
        self._is_open = True
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.>", cb=self._receive)
        await self.ping()
        if not self._is_open:  # between the answer and our turn
            raise QueueAway("it was lost")

    async def ping(self) -> None:
        """Send ourselves a letter: both directions, the server, and nats-py's own tasks must live for it to arrive.

        Raises:
            QueueAway: It did not arrive in time; the line is at its end.
        """
        box = self.make_mailbox()
        try:
            await self.send(box.subject, b"")
            await self._answer(box)
        finally:
            self.drop_mailbox(box)

    def make_mailbox(self) -> Mailbox:
        """Return a mailbox for answers; whoever makes one drops it.

        Raises:
            QueueAway: The line is at its end.
        """
        if not self._is_open:
            raise QueueAway("it was lost")
        self._boxes_made += 1
        key = str(self._boxes_made)
        self._boxes[key] = box = Mailbox(f"{self._inbox}.{key}")
        return box

    def drop_mailbox(self, box: Mailbox) -> None:
        """Throw away what still comes for *box*."""
        self._boxes.pop(box.subject.rpartition(".")[2], None)

    @asynccontextmanager
    async def mailbox_of_stream(self, subject: str = "") -> AsyncIterator[Mailbox]:
        """Lend a mailbox for what a consumer delivers: that keeps the subject it was published under, not the mailbox's.

        Args:
            subject: Instead of one of its own: whoever else listens to it gets each message too.

        Raises:
            QueueAway: The line is at its end.
        """
        box = self.make_mailbox()
        key = box.subject.rpartition(".")[2]
        box.subject = subject or f"{self._client.new_inbox()}.{key}"

        async def receive(message: Msg) -> None:
            box.put(message)

        try:
            subscription = await self._client.subscribe(box.subject, cb=receive)
            try:
                yield box
            finally:
                if self._is_open:
                    await subscription.unsubscribe()
        except (OSError, nats.errors.Error) as error:
            self.end()
            raise QueueAway(type(error).__name__) from None
        finally:
            self._boxes.pop(key, None)

    async def send(self, subject: str, payload: bytes, *, reply: str = "", message_id: str = "") -> None:
        """Send one message, without waiting for anything to come of it.

        Raises:
            QueueAway: The line is at its end.
        """
        headers = {"Nats-Msg-Id": message_id} if message_id else None
        try:
            await self._client.publish(subject, payload, reply=reply, headers=headers)
        except (OSError, nats.errors.Error) as error:
            self.end()
            raise QueueAway(type(error).__name__) from None

    async def ask(self, subject: str, payload: bytes) -> Msg:
        """Send one message and return the answer to it.

        Raises:
            StreamMissing: Nobody answers to *subject*.
            QueueAway: There is no answer in time; the line is at its end.
        """
        box = self.make_mailbox()
        try:
            await self.send(subject, payload, reply=box.subject)
            answer = await self._answer(box)
        finally:
            self.drop_mailbox(box)
        if status_of(answer) == _NO_RESPONDERS:
            raise StreamMissing("nobody answers")
        return answer

    async def ask_all(self, messages: Sequence[Outgoing]) -> list[Msg]:
        """Send all *messages* at once and return the answer to each, in the order of the messages.

        Raises:
            QueueAway: Not all were answered in time; which ones were is not known. The line is at its end.
        """
        box = self.make_mailbox()
        answers: dict[str, Msg] = {}
        prefix = f"{box.subject}."
        try:
            # Answers to the first come while the last are sent, but no more than these at once are under way.
            for number, message in enumerate(messages):
                await self.send(message.subject, message.payload, reply=f"{prefix}{number}", message_id=message.message_id)
            while len(answers) < len(messages):
                answer = await self._answer(box)
                answers[answer.subject] = answer
        finally:
            self.drop_mailbox(box)
        return [answers[f"{prefix}{number}"] for number in range(len(messages))]

    async def _answer(self, box: Mailbox) -> Msg:
        try:
            return await box.take(self._timeout_s)
        except QueueAway:
            self.end()
            raise

    def end(self) -> None:
        """Hang up; whoever waits hears `QueueAway`. Called again, it does nothing."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._close())
            self._is_open = False
            boxes, self._boxes = self._boxes, {}
            for box in boxes.values():
                box.lose()
            self._on_lost(self)

    async def until_ended(self) -> None:
        """Wait until nothing of the line is left, after `end`."""
        if self._ending is not None:
            await asyncio.gather(self._ending, return_exceptions=True)

    async def _close(self) -> None:
        with suppress(OSError, TimeoutError, nats.errors.Error):
            async with asyncio.timeout(self._timeout_s):
                await self._client.close()
            return
        with suppress(OSError, TimeoutError, nats.errors.Error):
            async with asyncio.timeout(self._timeout_s):
                await _hang_up(self._client)

    async def _receive(self, message: Msg) -> None:
        key = message.subject[len(self._inbox) + 1 :].partition(".")[0]
        box = self._boxes.get(key)
        if box is not None:
            box.put(message)

    async def _note_problem(self, error: Exception) -> None:
        # Its class only: the text may quote a subject or the server's words.
        self.problem = type(error).__name__

    async def _note_end(self) -> None:
        self.end()


async def _hang_up(client: Client) -> None:
    """Let nothing of *client* be left, whatever it has not got rid of.

    Its `close` first sends what waits to be sent. To a server that is frozen that never ends, and whoever stops waiting
    for it leaves a socket open and tasks behind; called again it does nothing. So: end the socket, forget what waits, and
    let it believe that it was not called yet.
    """
    transport = client._transport  # noqa: SLF001 - there is no other way to it
    if isinstance(transport, TcpTransport):
        for writer in (transport._io_writer, transport._bare_io_writer):  # noqa: SLF001 - likewise
            if writer is not None:
                writer.transport.abort()
    client._pending, client._pending_data_size = [], 0  # noqa: SLF001 - likewise
    client._status = Client.DISCONNECTED  # noqa: SLF001 - likewise
    await client.close()


def status_of(message: Msg) -> str:
    """The status that NATS gives instead of a message, such as ``404``; empty: it is a message."""
    headers: Mapping[str, str] | None = message.headers
    return "" if headers is None else headers.get("Status", "")
