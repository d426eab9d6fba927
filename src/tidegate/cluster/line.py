"""A line to a server: carries bytes both ways, and can be cut without harm to the server at its end.

A process of its own, so that a cut needs no protocol: stopped by SIGSTOP, whoever uses the line hangs, as when a cable is
pulled; ended, everybody is refused. It is run by its file and imports nothing of ours, so that it starts in 20 ms.
"""

import contextlib
import os
import selectors
import socket
import sys
from pathlib import Path

_CHUNK_BYTES = 65_536
_BACKLOG = 1_024
_CONNECT_TIMEOUT_S = 1.0
"""A frozen server lets callers in as long as its backlog has room, and hangs afterwards; those who wait, wait for it."""


class _End:
    """One of the two sockets of a connection that is carried on."""

    __slots__ = ("other", "pending", "sends_no_more", "socket")

    def __init__(self, own: socket.socket) -> None:
        self.socket = own
        self.other = self
        self.pending = b""
        self.sends_no_more = False


class Line:
    """Listens at one address, and carries what comes on to another."""

    def __init__(self, listener: socket.socket, target: str) -> None:
        """Nothing is carried before `run`.

        Args:
            listener: Where callers come in.
            target: The server's address, as `connect` takes it.
        """
        self._listener = listener
        self._target = target
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, None)

    def run(self) -> None:
        """Carry until a signal ends the process."""
        while True:
            self.turn(None)

    def turn(self, timeout_s: float | None) -> None:
        """Do what can be done now, after waiting for it no longer than *timeout_s*."""
        for key, events in self._selector.select(timeout_s):
            if key.data is None:
                self._let_in()
            elif key.data.socket.fileno() >= 0:  # the other end may have closed both within this turn
                self._carry(key.data, events)

    def _let_in(self) -> None:
        try:
            caller = self._listener.accept()[0]
        except OSError:  # it has hung up already
            return
        try:
            server = connect(self._target, timeout_s=_CONNECT_TIMEOUT_S)
        except OSError:
            caller.close()  # as the server would
            return
        ends = _End(caller), _End(server)
        ends[0].other, ends[1].other = ends[1], ends[0]
        for end in ends:
            end.socket.setblocking(False)
            self._selector.register(end.socket, selectors.EVENT_READ, end)

    def _carry(self, end: _End, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                _send(end, b"")
            if events & selectors.EVENT_READ and not end.sends_no_more:
                said = end.socket.recv(_CHUNK_BYTES)
                end.sends_no_more = not said
                _send(end.other, said)
        except BlockingIOError:
            pass
        except OSError:
            self._close(end)
            return
        if end.sends_no_more and end.other.sends_no_more and not end.pending and not end.other.pending:
            self._close(end)
            return
        self._watch(end)
        self._watch(end.other)

    def _watch(self, end: _End) -> None:
        """Read from it only what its other end can take, so that nothing is gathered here."""
        reading = selectors.EVENT_READ if not end.sends_no_more and not end.other.pending else 0
        events = reading | (selectors.EVENT_WRITE if end.pending else 0)
        is_watched = end.socket in self._selector.get_map()
        if events and is_watched:
            self._selector.modify(end.socket, events, end)
        elif events:
            self._selector.register(end.socket, events, end)
        elif is_watched:
            self._selector.unregister(end.socket)

    def _close(self, end: _End) -> None:
        for each in (end, end.other):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(each.socket)
            each.socket.close()


def _send(end: _End, said: bytes) -> None:
    """Send what is pending and *said*; what cannot go now becomes pending. After the last byte, say that it was it."""
    end.pending += said
    if end.pending:
        with contextlib.suppress(BlockingIOError):
            end.pending = end.pending[end.socket.send(end.pending) :]
    if end.other.sends_no_more and not end.pending:
        with contextlib.suppress(OSError):
            end.socket.shutdown(socket.SHUT_WR)


def connect(address: str, *, timeout_s: float) -> socket.socket:
    """A connection to *address*: the path of a Unix socket, or HOST:PORT.

    Raises:
        OSError: Nobody listens there, or takes it within *timeout_s*.
    """
    if address.startswith("/"):
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.settimeout(timeout_s)
            connected.connect(address)
        except OSError:
            connected.close()
            raise
        return connected
    host, _, port = address.rpartition(":")
    connected = socket.create_connection((host, int(port)), timeout=timeout_s)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def listen(address: str) -> socket.socket:
    """A socket that listens on *address*, as `connect` takes it; a path is for us alone, and there only once it listens.

    Raises:
        OSError: It cannot be had.
    """
    if not address.startswith("/"):
        host, _, port = address.rpartition(":")
        return socket.create_server((host, int(port)), backlog=_BACKLOG)
    listener = socket.socket(socket.AF_UNIX)
    making = Path(address + "~")
    making.unlink(missing_ok=True)
    before = os.umask(0o077)
    try:
        listener.bind(str(making))
    finally:
        os.umask(before)
    listener.listen(_BACKLOG)
    making.rename(address)
    return listener


def main(words: list[str]) -> None:
    """Carry from the first of *words* to the second."""
    address, target = words
    with listen(address) as listener:
        Line(listener, target).run()


if __name__ == "__main__":
    main(sys.argv[1:])
