"""One connection to Valkey: commands of one turn of the event loop leave together, answers come back in their order.

valkey-py's asyncio path costs 39 to 43 us of CPU a command here, this one 2 to 3 (ADR 0015): the same parser in C under
both, but no pool, no lock, no task and no timer a command.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from libvalkey import ProtocolError, Reader, pack_command

Reply = bytes | int | list["Reply"] | None
"""What RESP2 knows; a refusal of the server is raised instead."""

WAITING_MAX: Final = 10_000
"""Commands under way: beyond it the cache counts as away. At 50 ms of patience no healthy one comes near."""


class CacheAway(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """Valkey does not answer in time, or not at all. What it would have spared must be done without it."""


class CacheRefused(CacheAway):
    """Valkey answered with an error: out of memory, a replica, a right that is missing.

    Attributes:
        code: The first word of its error, such as ``OOM``; the rest may quote what we sent.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Connection(asyncio.Protocol):
    """Sends commands and hands each its answer.

    Args:
        on_lost: Called once, when nothing can be asked here any more.
    """

    def __init__(self, *, on_lost: Callable[["Connection"], None]) -> None:
        self._on_lost = on_lost
        self._reader = Reader(replyError=_refused)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._leaving: list[bytes] = []
        self._waiting: deque[tuple[float, asyncio.Future[Reply] | None]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so

    def ask(self, *words: bytes | int) -> "asyncio.Future[Reply]":
        """Send one command; its answer comes in the future, or `CacheAway`.

        Raises:
            CacheAway: At once, when there is nobody to ask.
        """
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._send(words, answer)
        return answer

    def tell(self, *words: bytes | int) -> None:
        """Send one command whose answer nobody waits for.

        Raises:
            CacheAway: At once, when there is nobody to tell.
        """
        self._send(words, None)

    @property
    def waiting_since(self) -> float | None:
        """When the oldest command left that has no answer yet, by the loop's clock; None: all are answered."""
        return self._waiting[0][0] if self._waiting else None

    def close(self) -> None:
        """Hang up; whoever waits is told `CacheAway`."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                answer = waiting.popleft()[1]
                if answer is None or answer.done():
                    continue
                if isinstance(reply, CacheRefused):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        except (ProtocolError, IndexError):  # not Valkey, or an answer that nobody asked for
            self.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by the event loop."""
        self._end()

    def _send(self, words: tuple[bytes | int, ...], answer: "asyncio.Future[Reply] | None") -> None:
        if self._transport is None or len(self._waiting) >= WAITING_MAX:
            raise CacheAway
        if not self._leaving:
            # Not now: whoever else asks in this turn of the event loop comes along in one system call.
            self._loop.call_soon(self._leave)
        self._leaving.append(pack_command(words))
        self._waiting.append((self._loop.time(), answer))

    def _leave(self) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(self._leaving))
        self._leaving.clear()

    def _end(self) -> None:
        if self._transport is None:
            return
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        for _, answer in waiting:
            if answer is not None and not answer.done():
                answer.set_exception(CacheAway())
        self._on_lost(self)


def _refused(text: str) -> Exception:
    # Not a ReplyError of the library: the whole text may quote a key, and keys name users.
    return CacheRefused(text.partition(" ")[0])
