"""The embedded NATS starts, stops and comes back under the same URL with what it was told, and lets nobody else in."""

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tests.support.nats_servers import frozen, kill, own_nats, wipe
from tests.support.waiting import until
from tidegate.embedded.nats import EmbeddedNats, EmbeddedNatsError
from tidegate.embedded.ports import free_port

T = TypeVar("T")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def with_jetstream(url: str, act: Callable[[JetStreamContext], Awaitable[T]]) -> T:
    async def connected() -> T:
        async def ignore(_error: Exception) -> None: ...

        client = await nats.connect(url, allow_reconnect=False, error_cb=ignore)
        try:
            return await act(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(connected())


def store_one(server: EmbeddedNats) -> None:
    async def act(jetstream: JetStreamContext) -> None:
        await jetstream.add_stream(name="kept", subjects=["kept"])
        await jetstream.publish("kept", b"message")

    with_jetstream(server.url, act)


def stored(server: EmbeddedNats) -> int:
    async def act(jetstream: JetStreamContext) -> int:
        return (await jetstream.stream_info("kept")).state.messages

    return with_jetstream(server.url, act)


def test_what_was_acknowledged_is_there_after_a_kill_under_the_same_url(folder: Path) -> None:
    """So that those who use it need not be told."""
    with EmbeddedNats(folder) as server:
        store_one(server)
        url = server.url
        kill(server)
        server.start()
        assert server.url == url
        assert stored(server) == 1


def test_what_was_acknowledged_is_there_for_the_next_owner(folder: Path) -> None:
    with EmbeddedNats(folder) as server:
        store_one(server)
    with EmbeddedNats(folder) as server:
        assert stored(server) == 1


def test_it_comes_back_under_the_same_url_after_stop(folder: Path) -> None:
    with EmbeddedNats(folder) as server:
        url = server.url
        server.stop()
        server.start()
        assert server.url == url


def test_nobody_gets_in_without_the_password(folder: Path) -> None:
    """Its port is open to every user of the machine."""
    with EmbeddedNats(folder) as server:
        assert urlsplit(server.url).hostname == "127.0.0.1"
        password = urlsplit(server.url).password
        for said in ({}, {"user": "tidegate", "pass": "guessed"}):
            assert answer_to(server, said).startswith(b"-ERR 'Authorization Violation'")
        assert answer_to(server, {"user": "tidegate", "pass": password}) == b"PONG\r\n"


def answer_to(server: EmbeddedNats, said: Mapping[str, object]) -> bytes:
    """What *server* answers to who introduces themselves so."""
    with connected(server) as asking, asking.makefile("rb") as answers:
        assert answers.readline().startswith(b"INFO ")
        asking.sendall(f"CONNECT {json.dumps({'verbose': False, **said})}\r\nPING\r\n".encode())
        return answers.readline()


def connected(server: EmbeddedNats) -> socket.socket:
    found = urlsplit(server.url)
    return socket.create_connection((found.hostname, found.port), timeout=5)


def test_the_password_lies_in_a_closed_file_that_goes_with_the_server(folder: Path) -> None:
    before = os.umask(0)
    try:
        with EmbeddedNats(folder) as server:
            password = urlsplit(server.url).password
            assert password
            holders = [
                path for path in folder.rglob("*") if path.is_file() and password in path.read_text(errors="replace")
            ]
            assert [path.name for path in holders] == ["nats.conf"]
            assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600
            assert password.encode() not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    finally:
        os.umask(before)
    assert not holders[0].exists()


def test_its_port_is_none_that_outgoing_connections_use(folder: Path) -> None:
    """One of them could take it while the server is away for a moment."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with EmbeddedNats(folder) as server:
        assert int(urlsplit(server.url).port or 0) < low
        assert int(urlsplit(server.monitor_url).port or 0) < low


def test_a_port_that_was_taken_in_between_is_given_up_for_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], *(free_port() for _ in range(3))])
        monkeypatch.setattr("tidegate.embedded.nats.free_port", lambda: next(ports))
        with EmbeddedNats(folder) as server:
            assert urlsplit(server.url).port != taken.getsockname()[1]
            store_one(server)


def test_a_stranger_on_its_port_is_not_taken_for_it(folder: Path) -> None:
    """Another NATS there would answer that it is healthy, and keep our messages."""
    with EmbeddedNats(folder / "ours") as ours:
        kill(ours)
        stranger = EmbeddedNats(folder / "stranger")
        stranger._ports = ours._ports
        with stranger, pytest.raises(EmbeddedNatsError, match=r"did not start; read .*nats.log"):
            ours.start()


def test_it_waits_for_the_server_that_a_killed_owner_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers that write into one store ruin it. This orphan takes its time."""
    with EmbeddedNats(folder) as orphan:
        store_one(orphan)
        server = EmbeddedNats(folder)
        asleep_before_its_start: list[bool] = []
        sleep = time.sleep

        def end_the_orphan(duration_s: float) -> None:
            asleep_before_its_start.append(server._process is None)
            orphan.process.terminate()
            orphan.process.wait()
            sleep(duration_s)

        monkeypatch.setattr("tidegate.embedded.server.time.sleep", end_the_orphan)
        with server:
            assert asleep_before_its_start[0]
            assert stored(server) == 1


def test_it_ends_when_its_owner_is_killed(folder: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from tidegate.embedded.nats import EmbeddedNats
server = EmbeddedNats(Path(sys.argv[1]))
server.start()
print(server.process.pid, flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    orphan = int(owner.stdout.readline())
    owner.kill()
    owner.communicate()
    until(lambda: not is_running(orphan), "it still runs")


def is_running(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_frozen_it_answers_nobody_and_goes_on_afterwards() -> None:
    with own_nats() as server:
        store_one(server)
        with frozen(server), connected(server) as asking, pytest.raises(TimeoutError):
            asking.recv(1)
        assert stored(server) == 1


def test_wiped_it_knows_nothing() -> None:
    with own_nats() as server:
        store_one(server)
        url = server.url
        wipe(server)
        assert server.url == url
        with pytest.raises(NotFoundError):
            stored(server)


def test_what_it_stores_is_bounded(folder: Path) -> None:
    """Its default is three quarters of what is free on the disk."""

    async def act(jetstream: JetStreamContext) -> None:
        await jetstream.add_stream(name="large", subjects=["large"], max_bytes=(1 << 30) + 1)

    with EmbeddedNats(folder) as server, pytest.raises(nats.js.errors.Error, match="insufficient storage"):
        with_jetstream(server.url, act)


def test_a_program_that_cannot_run_is_named(folder: Path) -> None:
    with pytest.raises(EmbeddedNatsError, match="/no/such/nats-server cannot be run; set TIDEGATE_NATS_PROGRAM to another"):
        EmbeddedNats(folder, program=Path("/no/such/nats-server")).start()


def test_a_server_that_cannot_start_names_its_log(folder: Path) -> None:
    """Here the program is one that ends at once."""
    with pytest.raises(EmbeddedNatsError, match=r"NATS did not start; read .*nats.log"):
        EmbeddedNats(folder, program=Path("/bin/true")).start()


def test_where_there_is_no_program_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedNats, "_programs", lambda _self: iter([Path("/no/such/nats-server")]))
    with pytest.raises(
        EmbeddedNatsError, match=r"no NATS found; install .* Debian's nats-server, or set TIDEGATE_NATS_PROGRAM"
    ):
        EmbeddedNats(folder).start()


def test_a_folder_with_quotes_in_its_name_is_written_as_it_is(folder: Path) -> None:
    with EmbeddedNats(folder / 'a "quoted" $name') as server:
        store_one(server)
        assert any(server.store.iterdir())
