"""Writes one JSON line a request, and one for whatever else deserves it, without making the event loop wait for each."""

import asyncio
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Final

import msgspec

_FLUSH_INTERVAL_S: Final = 0.1
"""How long a line may wait for its neighbours; so much of the log a kill -9 can lose."""

_BUFFERED_LINES_MAX: Final = 1_000


class RequestLine(msgspec.Struct, omit_defaults=True):
    """One request. No field ever holds a password, a token, a login identifier or an address.

    Attributes:
        time: When the answer was handed over, UTC, RFC 3339.
        request_id: The one in the answer's X-Request-Id.
        method: The HTTP method, or OTHER.
        route: The path's template, never the path itself: a path can hold anything.
        status: None when the client was gone before it could be answered.
        outcome: `ok`, or the word for what went wrong.
        duration_ms: From the head read to the answer handed over.
        user_id: Whose request it was, where that is known.
        error: The class of an unexpected exception; its text may hold anything and is left out.
        frames: Where that happened, innermost last.
    """

    time: str
    request_id: str
    method: str
    route: str
    status: int | None
    outcome: str
    duration_ms: float
    user_id: str | None = None
    error: str | None = None
    frames: list[str] | None = None


class EventLine(msgspec.Struct, omit_defaults=True):
    """Something that is no request: a start, a stop, a connection lost and found.

    Attributes:
        source: Which part tells.
        event: What happened, in words without variable parts that a client could have written.
    """

    time: str
    level: str
    source: str
    event: str
    error: str | None = None
    frames: list[str] | None = None


def utc_now() -> str:
    """The time for a line: RFC 3339 with microseconds."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_utc_second(seconds)}.{microseconds:06d}Z"


@lru_cache(maxsize=2)
def _utc_second(seconds: int) -> str:
    """The part of a time that thousands of lines share."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def frames_of(error: BaseException) -> list[str]:
    """Where *error* was raised, as `file:line function`, innermost last; nothing of its text or of any value."""
    return [
        f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]


class JsonLog:
    """A file descriptor that takes lines.

    Args:
        descriptor: Open for writing; not closed by us.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._encoder = msgspec.json.Encoder()
        self._flush_due: asyncio.TimerHandle | None = None

    def write(self, line: RequestLine | EventLine) -> None:
        """Write *line* within `_FLUSH_INTERVAL_S`; at once when no event loop runs."""
        self._lines.append(self._encoder.encode(line))
        if len(self._lines) >= _BUFFERED_LINES_MAX:
            self.flush()
        elif self._flush_due is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.flush()
            else:
                self._flush_due = loop.call_later(_FLUSH_INTERVAL_S, self.flush)

    def event(self, level: str, source: str, event: str, error: BaseException | None = None) -> None:
        """Write an `EventLine`; of *error* only its class and where it was raised."""
        self.write(
            EventLine(
                time=utc_now(),
                level=level,
                source=source,
                event=event,
                error=None if error is None else type(error).__name__,
                frames=None if error is None else frames_of(error),
            )
        )

    def flush(self) -> None:
        """Hand all lines to the system."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        if not self._lines:
            return
        pending = b"\n".join(self._lines) + b"\n"
        self._lines.clear()
        while pending:
            try:
                pending = pending[os.write(self._descriptor, pending) :]
            except OSError:  # the disk is full or the reader gone: serving goes on
                return


class EventHandler(logging.Handler):
    """Brings what libraries log into our log: the first line of their message and where an exception was raised."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*. Further lines of a message are left out: asyncio puts the repr of an exception there."""
        error = record.exc_info[1] if record.exc_info else None
        first_line = record.getMessage().partition("\n")[0]
        self._log.event(record.levelname.lower(), record.name, first_line, error)


@contextmanager
def open_log(file: Path | None) -> Iterator[JsonLog]:
    """Open the log of this process; what libraries log goes there too.

    Args:
        file: Appended to; None: standard output.

    Raises:
        OSError: The file cannot be opened.
    """
    descriptor = sys.stdout.fileno() if file is None else os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    log = JsonLog(descriptor)
    handler = EventHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        yield log
    finally:
        logging.getLogger().removeHandler(handler)
        log.flush()
        if file is not None:
            os.close(descriptor)
