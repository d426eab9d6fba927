"""Hears everything that is published in NATS, and publishes it again: twice, the latest first, as often as it is told to.

In the protocol of NATS, without a client: none would do this.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

_SUBJECTS: Final = ("tidegate.jobs.>", "tidegate.changes")
_PORTION: Final = 5
"""So many messages are heard before they are repeated, or as many as come in a tenth of a second: most are not done."""

_PATIENCE_S: Final = 0.1


class Tap(threading.Thread):
    """One.

    Attributes:
        heard: Subjects and payloads, in their order; its own are not among them.
        repeated: How many messages it has published.
        fault: What ended it before `stop`.
    """

    def __init__(self, url: str) -> None:
        super().__init__(name="tap", daemon=True)
        self.heard: list[tuple[bytes, bytes]] = []
        self.repeated = 0
        self.fault: Exception | None = None
        self._stopping = threading.Event()
        server = urlsplit(url)
        self._line = socket.create_connection((server.hostname or "", server.port or 0), timeout=10)
        self._input = self._line.makefile("rb")
        opening = (
            f'CONNECT {{"verbose":false,"pedantic":false,"headers":false,"echo":false,"protocol":1,'
            f'"user":"{server.username}","pass":"{server.password}"}}\r\n'
        )
        subscribing = "".join(f"SUB {subject} {number}\r\n" for number, subject in enumerate(_SUBJECTS, 1))
        self._line.sendall((opening + subscribing + "PING\r\n").encode())
        while not self._input.readline().startswith(b"PONG"):
            pass

    def run(self) -> None:
        """See `threading.Thread.run`."""
        try:
            repeated_to = 0
            self._line.sendall(b"PING\r\n")
            while not self._stopping.is_set():
                self._hear_until_pong()
                if len(self.heard) - repeated_to >= _PORTION or self._stopping.wait(_PATIENCE_S):
                    self._repeat(self.heard[repeated_to:])
                    repeated_to = len(self.heard)
                self._line.sendall(b"PING\r\n")
            self._hear_until_pong()
            self._repeat(self.heard)
        except (OSError, ValueError) as fault:
            self.fault = fault

    def stop(self) -> None:
        """Repeat all that was heard once more, and end."""
        self._stopping.set()
        self.join(30)
        self._line.close()

    def _hear_until_pong(self) -> None:
        while True:
            words = self._input.readline().split()
            if not words or words[0] == b"-ERR":
                raise OSError(b" ".join(words))
            if words[0] == b"PONG":
                return
            if words[0] == b"PING":
                self._line.sendall(b"PONG\r\n")
            if words[0] == b"MSG":
                self.heard.append((words[1], self._input.read(int(words[-1]))))
                self._input.readline()

    def _repeat(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Without their message ids: the stream would see that it has them."""
        again = [message for message in reversed(messages) for _ in range(2)]
        self._line.sendall(b"".join(b"PUB %s %d\r\n%s\r\n" % (each[0], len(each[1]), each[1]) for each in again))
        self.repeated += len(again)


@contextlib.contextmanager
def tapped(url: str) -> Iterator[Tap]:
    """Let one work in the block.

    Raises:
        OSError: It could not to the end.
    """
    tap = Tap(url)
    tap.start()
    try:
        yield tap
    finally:
        tap.stop()
    if tap.fault is not None:
        raise tap.fault
