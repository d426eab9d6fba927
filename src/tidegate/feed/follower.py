"""Follows the stream of changes for as long as the process lives, reading after reading."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from tidegate.domain.changes import Answer, Question, Told
from tidegate.feed.following import Following, StreamBroken

_PAUSE_S_MIN: Final = 0.05
_PAUSE_S_MAX: Final = 1.0
"""Between two readings, doubling, each drawn from its half to its whole, so that the nodes do not come back in step."""

_ASK_TIMEOUT_S: Final = 0.5
"""To hand a question to the queue's connection; only one that is stuck takes longer."""


class ChangeReading(Protocol):
    """An open reading of the stream."""

    async def ask(self, question: Question) -> None:
        """Send *question* to the relays; raises if the connection is gone. Whether it arrives is shown by the answer."""


class ChangeStream(Protocol):
    """The stream of changes, in the queue."""

    def read(
        self,
        *,
        on_told: Callable[[int, Told], None],
        on_answer: Callable[[Answer], None],
        on_end: Callable[[], None],
    ) -> AbstractAsyncContextManager[ChangeReading]:
        """Open a reading that begins with the next message, on a connection that is not silently replaced.

        Args:
            on_told: Called with each message and its number in the stream, in the order of arrival.
            on_answer: Called with each answer to a question of this reading.
            on_end: Called when the reading is known to have ended, or a message could not be read.

        Raises:
            Exception: It cannot be had now.
        """


class Listener(Protocol):
    """Who is told of changes."""

    async def begin(self) -> float:
        """Every change that is told from before this call on will be heard: learn what came before.

        Returns:
            A moment after the call: whatever was acknowledged before it is known when this returns.
        """

    def hear(self, told: Told) -> None:
        """Learn what one message tells."""

    def prove(self, sent_at: float) -> None:
        """Whatever was acknowledged before *sent_at*, by the monotonic clock, has been heard."""

    def rest(self) -> None:
        """Called now and then, for what has to be done now and then."""


class Follower:
    """Hears of changes through the queue, and knows up to when it has heard of all.

    A reading never goes on after a break of any kind: another begins, from the next message, and what lies between is read
    from the primary, which knows it for sure. A stream that went on would have to be trusted to be the same as before; a
    queue that has lost its latest messages in a power failure is not, and looks so.
    """

    def __init__(
        self,
        *,
        stream: ChangeStream,
        listener: Listener,
        heartbeat_s: float = 0.3,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened before `start`.

        Args:
            stream: Where changes are told.
            listener: Who hears of them.
            heartbeat_s: Between two questions.
            monotonic: In seconds; tests hold it.
        """
        self._stream = stream
        self._listener = listener
        self._heartbeat_s = heartbeat_s
        self._monotonic = monotonic
        self._proven_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    @property
    def age_s(self) -> float:
        """How old what this line has proven is; infinite before the first proof."""
        return self._monotonic() - self._proven_at

    async def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow())

    async def aclose(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self) -> None:
        pause_s = _PAUSE_S_MIN
        while True:
            proven_at = self._proven_at
            with contextlib.suppress(Exception):  # whatever it is, another reading is tried, and nothing proven meanwhile
                await Reading(self._stream, self._listener, self._prove, self._heartbeat_s, self._monotonic).run()
            if self._proven_at > proven_at:
                pause_s = _PAUSE_S_MIN
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
            pause_s = min(pause_s * 2, _PAUSE_S_MAX)

    def _prove(self, sent_at: float) -> None:
        self._proven_at = max(self._proven_at, sent_at)
        self._listener.prove(sent_at)


class Reading:
    """One reading, until it breaks."""

    def __init__(
        self,
        stream: ChangeStream,
        listener: Listener,
        prove: Callable[[float], None],
        heartbeat_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._stream = stream
        self._listener = listener
        self._prove = prove
        self._heartbeat_s = heartbeat_s
        self._following = Following(monotonic=monotonic)
        self._is_loaded = False
        self._is_broken = asyncio.Event()
        self._has_begun = asyncio.Event()

    async def run(self) -> None:
        """Follow until it breaks.

        Raises:
            StreamBroken: It has.
        """
        async with self._stream.read(on_told=self._told, on_answer=self._answered, on_end=self._is_broken.set) as reading:
            breaking = asyncio.create_task(self._is_broken.wait())
            asking = asyncio.create_task(self._ask(reading))
            loading = asyncio.create_task(self._load())
            try:
                await asyncio.wait((breaking, asking), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._is_broken.set()  # what still comes is not heeded
                for task in (breaking, asking, loading):
                    task.cancel()
                await asyncio.gather(breaking, asking, loading, return_exceptions=True)
        raise StreamBroken

    async def _ask(self, reading: ChangeReading) -> None:
        while True:
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                await reading.ask(self._following.question())
            await asyncio.sleep(self._heartbeat_s)
            self._following.check()
            self._listener.rest()

    async def _load(self) -> None:
        """Learn what came before the reading, as soon as it has begun."""
        await self._has_begun.wait()
        try:
            known_until = await self._listener.begin()
        except BaseException:
            self._is_broken.set()
            raise
        self._is_loaded = True
        self._prove(known_until)

    def _told(self, sequence: int, told: Told) -> None:
        if self._is_broken.is_set():
            return
        try:
            proof = self._following.consumed(sequence, told.marker)
            if told.has_lost and self._has_begun.is_set():
                raise StreamBroken  # only the primary knows; before we began it matters not, for that is read from there
            self._listener.hear(told)
        except Exception:  # also what a listener runs into: it has then not heard everything
            self._is_broken.set()
            return
        self._has_begun.set()
        self._conclude(proof)

    def _answered(self, answer: Answer) -> None:
        if not self._is_broken.is_set():
            self._conclude(self._following.answered(answer))

    def _conclude(self, proof: float | None) -> None:
        # Before the load is done what came before the reading is unknown, so nothing is proven.
        if proof is not None and self._is_loaded:
            self._prove(proof)
