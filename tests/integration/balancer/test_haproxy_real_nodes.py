"""Real nodes behind a real HAProxy: killed, rolled over under load, and lied to about who asks."""

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.balancers import a_plan, own_haproxy, until_status
from tests.support.client import PASSWORD, Client, Reply, Somebody, fresh_name
from tests.support.commands import processes_of
from tests.support.databases import drop_database, make_migrated_database
from tests.support.nodes import Node, free_ports, running_node
from tests.support.own_nodes import own_node
from tests.support.waiting import until
from tests.support.wires import Wire, request
from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.embedded.haproxy import EmbeddedHaproxy
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.tokens.keys import create_key_file

CALLERS = 6
WELL = "well"


@dataclass
class Fleet:
    """Two nodes on one database behind a HAProxy."""

    dsn: str
    folder: Path
    ports: list[list[int]]
    haproxy: EmbeddedHaproxy
    port: int
    settings: dict[str, str]
    _running: dict[int, contextlib.ExitStack] = field(default_factory=dict)
    _nodes: dict[int, Node] = field(default_factory=dict)

    def start(self, number: int) -> None:
        """Start node *number*, which is ready at the end."""
        folder = self.folder / f"node-{number}"
        folder.mkdir(exist_ok=True)
        self._running[number] = stack = contextlib.ExitStack()
        port, metrics_port = self.ports[number - 1]
        node = running_node(self.dsn, folder, PORT=str(port), METRICS_PORT=str(metrics_port), **self.settings)
        self._nodes[number] = stack.enter_context(node)

    def stop(self, number: int) -> None:
        """Send it SIGTERM, and wait until it is gone."""
        self._running.pop(number).close()

    def kill(self, number: int) -> None:
        """Kill all processes of the node at once, as the loss of its machine would."""
        for pid in processes_of(self.folder / f"node-{number}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop_all(self) -> None:
        for number in list(self._running):
            self.stop(number)


@contextlib.contextmanager
def a_fleet(postgres: EmbeddedPostgres, **settings: str) -> Iterator[Fleet]:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-fleet-"))
    name = make_migrated_database(postgres)
    given = {
        "TRUSTED_HOPS": "1",
        "API_PROCESSES": "2",
        "DATABASE_CONNECTIONS": "4",
        "SIGNING_KEYS_FILE": str(folder / "signing_keys.json"),
        "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="),
    }
    create_key_file(folder / "signing_keys.json")
    ports = [free_ports(2), free_ports(2)]
    plan = a_plan(ports[0][0], ports[1][0])
    given["ISSUER"] = f"http://{plan.listen}"  # by default each node would be an issuer of its own
    try:
        with own_haproxy(haproxy_cfg(plan)) as haproxy:
            fleet = Fleet(postgres.dsn(name), folder, ports, haproxy, plan.listen.port, given | settings)
            try:
                for number in (1, 2):
                    fleet.start(number)
                    until_status(haproxy, number, "UP")
                yield fleet
            finally:
                fleet.stop_all()
    finally:
        drop_database(postgres, name)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def fleet(postgres: EmbeddedPostgres) -> Iterator[Fleet]:
    with a_fleet(postgres) as running:
        yield running


@dataclass
class Caller:
    """One client, which opens its connection anew when it is told to, and notes how each request ended."""

    port: int
    person: Somebody
    heard: list[str] = field(default_factory=list)
    _wire: Wire | None = None

    async def turn(self) -> None:
        """What it does again and again: it reads."""
        await self.ask(request("GET", "/me", token=self.person.access_token))

    async def ask(self, octets: bytes) -> Reply | None:
        if self._wire is None:
            self._wire = await Wire.to(self.port)
        try:
            reply = await self._wire.ask(octets)
        except (asyncio.IncompleteReadError, OSError) as error:
            self.heard.append(f"{type(error).__name__} of {octets[:13]!r}")
            self.close()
            return None
        self.heard.append(WELL if reply.status == 200 else f"{reply.status} of {octets[:13]!r}: {reply.headers}")
        if reply.headers.get("connection") == "close":
            self.close()
        return reply

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class BusyCaller(Caller):
    """It reads, refreshes its tokens and logs in anew."""

    async def turn(self) -> None:
        await super().turn()
        if reply := await self.ask(request("POST", "/refresh", fields={"refresh_token": self.person.refresh_token})):
            pair = reply.json
            self.person = replace(self.person, access_token=pair["access_token"], refresh_token=pair["refresh_token"])
        await self.ask(request("POST", "/login", fields={"username": self.person.username, "password": PASSWORD}))


@contextlib.contextmanager
def calling(callers: Sequence[Caller]) -> Iterator[Callable[[], list[str]]]:
    """Let *callers* take turn after turn, in a thread of their own; yields what tells all that they heard.

    Nodes are started here, in the main thread: they live no longer than the thread that started them.
    """
    stop = threading.Event()

    async def go_on(caller: Caller) -> None:
        while not stop.is_set():
            await caller.turn()
        caller.close()

    async def go_on_all() -> None:
        await asyncio.gather(*map(go_on, callers))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: asyncio.run(go_on_all()))
        try:
            yield lambda: [each for caller in callers for each in caller.heard]
        finally:
            stop.set()
            done.result(60)


def callers_of(fleet: Fleet, kind: type[Caller]) -> list[Caller]:
    with Client(fleet.port) as client:
        return [kind(fleet.port, client.somebody()) for _ in range(CALLERS)]


def test_both_nodes_are_rolled_over_under_load_and_no_request_fails(fleet: Fleet) -> None:
    """SIGTERM: the node says that it is not ready, answers what still comes, and goes when nothing is under way."""
    with calling(callers_of(fleet, BusyCaller)) as heard:
        for number in (1, 2):
            before = len(heard())
            fleet.stop(number)
            fleet.start(number)
            until_status(fleet.haproxy, number, "UP")
            until(lambda before=before: len(heard()) > before + 20, "nobody is answered")  # type: ignore[misc] # bound now
    assert set(heard()) == {WELL}, fleet.haproxy.log.read_text()


def test_a_node_that_is_killed_costs_those_who_read_nothing(fleet: Fleet) -> None:
    """What it had under way is asked of the other; there is not one error."""
    try:
        with calling(callers_of(fleet, Caller)) as heard:
            until(lambda: len(heard()) > 200, "nobody is answered")
            fleet.kill(1)
            before = len(heard())
            until_status(fleet.haproxy, 1, "DOWN")
            until(lambda: len(heard()) > before + 200, "nobody is answered")
    finally:
        fleet.stop(1)
        fleet.start(1)
        until_status(fleet.haproxy, 1, "UP")
    assert set(heard()) == {WELL}, fleet.haproxy.log.read_text()


def test_what_a_client_writes_of_its_address_does_not_reach_the_throttle(postgres: EmbeddedPostgres) -> None:
    """Three failures from one address are allowed here; a new address in X-Forwarded-For each time must not buy another."""
    settings = {"THROTTLE_ADDRESS_FAILURES": "3", "API_PROCESSES": "1"}
    with a_fleet(postgres, **settings) as fleet, Client(fleet.port) as client:
        fields = {"username": fresh_name(), "password": PASSWORD}
        told = [client.form("/login", fields, X_Forwarded_For=f"203.0.113.{number}").status for number in range(1, 12)]
        # Each node counts for itself here, for there is no cache that they share.
        assert told.count(404) <= 6
        assert told[-1] == 429


def test_a_node_that_is_told_to_stop_says_so_and_answers_what_still_comes(postgres: EmbeddedPostgres) -> None:
    """The race that this closes is seldom lost even without it, so here it is seen without a race."""
    with own_node(postgres, TRUSTED_HOPS="1", STOP_NOTICE_MS="5000", API_PROCESSES="1") as node:
        with node.client() as client:
            assert client.get("/health/ready").status == 200
            node.process.send_signal(signal.SIGTERM)
            until(lambda: client.get("/health/ready").status == 503, "it does not say that it stops")
            reply = client.get("/health/live")
            assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert node.process.wait(60) == 0
