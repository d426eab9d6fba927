"""The instrument itself: each weather does to a line what it says, and fair weather nothing."""

import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Address, Line, Proxy, Weather


class Echo(threading.Thread):
    """Answers each line with itself, and remembers what it has heard."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.heard: list[bytes] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while octets := connection.recv(1024):
                    self.heard.append(octets)
                    connection.sendall(octets)
            except OSError:
                return
            finally:
                self.ended.set()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    echo.start()
    yield echo
    echo.listener.shutdown(socket.SHUT_RDWR)
    echo.listener.close()
    echo.join(10)


@pytest.fixture
def line(echo: Echo) -> Iterator[Line]:
    with Proxy() as proxy:
        yield proxy.line(lambda: Address(port=echo.listener.getsockname()[1]))


def connected(line: Line) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=20)


def hear(line: Line) -> bytes:
    """What comes to whoever says nothing; the reset may come while they connect."""
    with connected(line) as client:
        return client.recv(1024)


def test_in_fair_weather_all_goes_through(line):
    with connected(line) as client:
        for words in (b"one", b"two"):
            client.sendall(words)
            assert client.recv(1024) == words


def test_a_cut_line_ends_who_is_there_and_who_comes(line):
    with connected(line) as standing:
        standing.sendall(b"hello")
        assert standing.recv(1024) == b"hello"
        with line.weather(Weather(refuses=True)):
            with pytest.raises(ConnectionResetError):
                standing.recv(1024)
            with pytest.raises(ConnectionResetError):
                hear(line)
    with connected(line) as client:
        client.sendall(b"again")
        assert client.recv(1024) == b"again"


def test_an_answer_is_cut_once_the_server_has_done_what_it_was_asked(line, echo):
    with line.weather(Weather(cuts_answer_after=2, times=1)):
        with connected(line) as client:
            client.sendall(b"commit")
            with pytest.raises(ConnectionResetError):  # the first two bytes may come before it, or be lost with it
                [client.recv(1024) for _ in range(2)]
        assert echo.heard == [b"commit"]
        assert line.cut == 1
        with connected(line) as client:  # only so many times
            client.sendall(b"commit")
            assert client.recv(1024) == b"commit"


def test_who_is_killed_with_an_answer_unread_ends_at_the_server_too(line, echo):
    """Its kernel sends a reset then, not an end."""
    with connected(line) as client:
        client.sendall(b"hello")
        assert select.select([client], [], [], 20) == ([client], [], [])
    assert echo.ended.wait(20)


def test_a_deaf_line_lets_nothing_reach_the_server_and_a_dumb_one_nothing_come_back(line, echo):
    for weather, heard in ((Weather(drops_requests=True), []), (Weather(drops_answers=True), [b"hello"])):
        with connected(line) as client:
            with line.weather(weather):
                client.sendall(b"hello")
                client.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    client.recv(1024)
                assert echo.heard == heard
            client.settimeout(20)
            with pytest.raises(ConnectionResetError):  # what was lost cannot be sent again
                client.recv(1024)


def test_a_weather_of_some_connections_leaves_the_others_alone(line):
    with connected(line) as meant, connected(line) as other:
        for client, words in ((meant, b"I am meant"), (other, b"I am not")):
            client.sendall(words)
            assert client.recv(1024) == words
        with line.weather(Weather(refuses=True, of=b"am meant")):
            with pytest.raises(ConnectionResetError):
                meant.recv(1024)
            with connected(line) as late:
                late.sendall(b"who am meant too")
                with pytest.raises(ConnectionResetError):
                    late.recv(1024)
            other.sendall(b"still here")
            assert other.recv(1024) == b"still here"


def test_a_slow_line_takes_its_time_either_way(line):
    with line.weather(Weather(delay_s=0.1)), connected(line) as client:
        began = time.monotonic()
        client.sendall(b"hello")
        assert client.recv(1024) == b"hello"
        assert time.monotonic() - began >= 0.2


def test_a_server_that_is_not_there_is_a_reset(line, echo):
    with Proxy() as proxy:
        nowhere = proxy.line(lambda: Address(port=1))
        with pytest.raises(ConnectionResetError):
            hear(nowhere)
