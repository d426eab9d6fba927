"""The embedded Valkey starts, stops and comes back, keeps nothing, and lets nobody else in."""

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.valkeys import say
from tidegate.embedded.valkey import EmbeddedValkey, EmbeddedValkeyError


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def socket_of(server: EmbeddedValkey) -> Path:
    return Path(unquote(server.url.removeprefix("unix://")))


def test_nobody_but_its_user_can_reach_its_socket(folder: Path) -> None:
    """There is no password: the folder's mode is the lock, and there is no port to come by instead."""
    with EmbeddedValkey(folder) as server:
        found = socket_of(server).parent.stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == os.geteuid()
        assert say(server, "CONFIG GET port") == b"*2\r\n$4\r\nport\r\n$1\r\n0\r\n"


def test_it_keeps_nothing_on_the_disk(folder: Path) -> None:
    with EmbeddedValkey(folder) as server:
        assert say(server, "SET key value") == b"+OK\r\n"
    assert [path.name for path in folder.iterdir()] == ["valkey.log"]
    with EmbeddedValkey(folder) as server:
        assert say(server, "GET key") == b"$-1\r\n"


def test_its_memory_is_bounded(folder: Path) -> None:
    """The longest unused goes: a counter that was forgotten is a counter that expired."""
    with EmbeddedValkey(folder) as server:
        assert b"268435456" in say(server, "CONFIG GET maxmemory")
        assert b"allkeys-lru" in say(server, "CONFIG GET maxmemory-policy")


def test_stop_leaves_no_socket_folder(folder: Path) -> None:
    with EmbeddedValkey(folder) as server:
        sockets = socket_of(server).parent
        assert sockets.exists()
    assert not sockets.exists()


def test_a_server_that_died_is_started_again_under_the_same_url(folder: Path) -> None:
    """So that those who use it need not be told."""
    with EmbeddedValkey(folder) as server:
        url = server.url
        server.process.send_signal(signal.SIGKILL)
        server.start()
        assert server.url == url
        assert say(server, "PING") == b"+PONG\r\n"


def test_what_a_killed_owner_left_is_removed(folder: Path) -> None:
    left = EmbeddedValkey(folder)
    left.start()
    sockets = socket_of(left).parent
    with EmbeddedValkey(folder) as server:
        assert not sockets.exists()
        assert say(server, "PING") == b"+PONG\r\n"
    left.stop()


def test_a_program_that_cannot_run_is_named(folder: Path) -> None:
    with pytest.raises(EmbeddedValkeyError, match="/no/such/valkey-server cannot be run"):
        EmbeddedValkey(folder, program=Path("/no/such/valkey-server")).start()


def test_a_server_that_cannot_start_names_its_log(folder: Path) -> None:
    """Here the program is one that ends at once."""
    with pytest.raises(EmbeddedValkeyError, match=r"did not start; read .*valkey.log"):
        EmbeddedValkey(folder, program=Path("/bin/true")).start()
