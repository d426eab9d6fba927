"""Changes on their way through NATS: the stream that tells every node of them, and the questions about it (ADR 0023)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from tidegate.domain.changes import Answer, Question, Told
from tidegate.queue.connection import Letters, QueueConnection
from tidegate.queue.messages import Outgoing, QueueAway, StreamMissing

STREAM: Final = "tidegate-changes"
SUBJECT: Final = "tidegate.changes"
QUESTIONS: Final = "tidegate.questions"
"""Not of the stream: a question is worth nothing a second later."""

_NS: Final = 1_000_000_000

CONFIG: Final = {
    "subjects": [SUBJECT],
    "retention": "limits",
    "discard": "old",
    # Nobody reads what came before they listened, so nothing has to outlive the server or a break.
    "storage": "memory",
    "max_age": 30 * _NS,
    "max_bytes": 16 << 20,
}

_VERSION: Final = 1
_RETRY_PAUSE_S: Final = 0.2


class _Message(msgspec.Struct, frozen=True):
    """What stands in the stream; a later release may add fields, and raises the version where ours must not be read."""

    version: int
    told: Told


class UnreadableMessage(Exception):  # noqa: N818 - it names what is the case
    """Of a later release."""


_MESSAGES: Final = msgspec.json.Decoder(_Message)
_ANSWERS: Final = msgspec.json.Decoder(Answer)
_QUESTIONS: Final = msgspec.json.Decoder(Question)


def encode(told: Told) -> bytes:
    """The message that stands for *told*."""
    return msgspec.json.encode(_Message(_VERSION, told))


def decode(payload: bytes) -> Told:
    """What a message tells.

    Raises:
        UnreadableMessage: It is none, or of a later release.
    """
    try:
        message = _MESSAGES.decode(payload)
    except msgspec.MsgspecError:
        raise UnreadableMessage from None
    if message.version != _VERSION:
        raise UnreadableMessage
    return message.told


class QueuedChanges:
    """`feed.follower.ChangeStream`, on a connection to NATS."""

    def __init__(self, queue: QueueConnection) -> None:
        self._queue = queue

    @asynccontextmanager
    async def read(
        self,
        *,
        on_told: Callable[[int, Told], None],
        on_answer: Callable[[Answer], None],
        on_end: Callable[[], None],
    ) -> AsyncIterator["OpenReading"]:
        """See `ChangeStream.read`.

        It begins behind the last message of now, so whatever is written once we are inside comes by it; of a stream that is
        replaced in this very moment it shows nothing, or messages from some number on.
        """
        await self._queue.until_up()
        state = await self._queue.stream_state(STREAM)
        async with self._queue.letters() as answers:
            tasks = [
                asyncio.create_task(_to_its_end(work, on_end))
                for work in (self._follow(state.last_seq, on_told), _hear_answers(answers, on_answer))
            ]
            try:
                yield OpenReading(self._queue, answers.address)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, after: int, on_told: Callable[[int, Told], None]) -> None:
        async with contextlib.aclosing(self._queue.follow(STREAM, subject=SUBJECT, after=after)) as messages:
            async for message in messages:
                if message is not None:
                    on_told(message.seq, decode(message.payload))


class OpenReading:
    """`feed.follower.ChangeReading`."""

    def __init__(self, queue: QueueConnection, address: str) -> None:
        self._queue = queue
        self._address = address

    async def ask(self, question: Question) -> None:
        """See `ChangeReading.ask`."""
        await self._queue.send(QUESTIONS, msgspec.json.encode(question), reply=self._address)


class QueuedTeller:
    """`feed.relay.Teller`, on a connection to NATS, and where the questions come from."""

    def __init__(self, queue: QueueConnection) -> None:
        self._queue = queue

    async def tell(self, told: Told) -> None:
        """See `Teller.tell`; makes the stream where there is none."""
        message = Outgoing(SUBJECT, encode(told))
        try:
            await self._queue.publish(message)
        except StreamMissing:
            await self._ensure_stream()
            await self._queue.publish(message)

    async def _ensure_stream(self) -> None:
        """Make the stream where there is none. One that an operator has made otherwise will do."""
        try:
            await self._queue.stream_state(STREAM)
        except StreamMissing:
            await self._queue.ensure_stream(STREAM, CONFIG)

    async def answer(self, reply_to: str, answer: Answer) -> None:
        """See `Teller.answer`."""
        await self._queue.send(reply_to, msgspec.json.encode(answer))

    async def hear_questions(self, asked: Callable[[Question, str], None]) -> None:
        """Hand over each question, and the address where its answer is awaited, until this is cancelled."""
        while True:
            await self._queue.until_up()
            with contextlib.suppress(QueueAway):
                await self._ensure_stream()  # whoever listens waits for one to read
                async with self._queue.letters(QUESTIONS) as questions:
                    while True:
                        letter = await questions.take()
                        with contextlib.suppress(msgspec.MsgspecError):  # not of ours
                            asked(_QUESTIONS.decode(letter.payload), letter.reply)
            await asyncio.sleep(_RETRY_PAUSE_S)


async def _hear_answers(answers: Letters, on_answer: Callable[[Answer], None]) -> None:
    while True:
        letter = await answers.take()
        with contextlib.suppress(msgspec.MsgspecError):  # not of ours
            on_answer(_ANSWERS.decode(letter.payload))


async def _to_its_end(work: Coroutine[Any, Any, None], on_end: Callable[[], None]) -> None:
    try:
        await work
    except (QueueAway, UnreadableMessage):
        pass
    finally:
        on_end()
