"""A listening socket that lets nobody else in loses nobody whom it has let in, and hears nobody who knocks."""

import socket
from collections.abc import Iterator

import pytest

from tidegate.api.listening import admit_nobody_else, is_somebody_waiting


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        yield listening


def test_who_was_let_in_is_served_and_who_knocks_is_not_heard_rather_than_reset(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname(), timeout=20) as early:
        early.sendall(b"before")
        admit_nobody_else(listener)
        early.sendall(b" after")
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), timeout=0.2)
        assert is_somebody_waiting(listener)
        taken, _ = listener.accept()
        with taken:
            early.shutdown(socket.SHUT_WR)
            taken.settimeout(20)
            assert b"".join(iter(lambda: taken.recv(100), b"")) == b"before after"
            taken.sendall(b"answer")
            assert early.recv(100) == b"answer"
    assert not is_somebody_waiting(listener)


def test_who_knocks_after_it_was_closed_hears_so_at_once(listener: socket.socket) -> None:
    address = listener.getsockname()
    admit_nobody_else(listener)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=20)
