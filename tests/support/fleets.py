"""Two nodes behind a HAProxy or an nginx, each of whatever release, and clients that note how each request ended."""

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.balancers import a_plan, a_plan_of_nginx, own_haproxy, own_nginx, until_status
from tests.support.client import Reply, Somebody
from tests.support.commands import processes_of
from tests.support.databases import drop_database, make_database, make_migrated_database
from tests.support.nodes import Node, free_ports, running_node
from tests.support.older import OlderRelease
from tests.support.waiting import until
from tests.support.wires import Wire, request
from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.nginx import nginx_conf
from tidegate.balancer.plan import BalancerPlan
from tidegate.embedded.haproxy import EmbeddedHaproxy
from tidegate.embedded.nginx import EmbeddedNginx
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.tokens.keys import create_key_file

WELL = "well"


@dataclass(kw_only=True)
class Nodes:
    """Two nodes on one database behind a balancer, which listens on `port`.

    Attributes:
        of_ours: Settings that only nodes of our release are given, from the next start on.
    """

    dsn: str
    folder: Path
    ports: list[list[int]]
    port: int
    settings: dict[str, str]
    of_ours: dict[str, str] = field(default_factory=dict)
    _running: dict[int, contextlib.ExitStack] = field(default_factory=dict)
    _nodes: dict[int, Node] = field(default_factory=dict)

    def start(self, number: int, *, source: Path | None = None) -> None:
        """Start node *number*, which is ready at the end, of the release in *source*, or of ours."""
        folder = self.folder / f"node-{number}"
        folder.mkdir(exist_ok=True)
        self._running[number] = stack = contextlib.ExitStack()
        port, metrics_port = self.ports[number - 1]
        settings = self.settings | (self.of_ours if source is None else {})
        node = running_node(self.dsn, folder, source, PORT=str(port), METRICS_PORT=str(metrics_port), **settings)
        self._nodes[number] = stack.enter_context(node)

    def node(self, number: int) -> Node:
        return self._nodes[number]

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


@dataclass(kw_only=True)
class Fleet(Nodes):
    """Behind a HAProxy."""

    haproxy: EmbeddedHaproxy

    def drain(self, number: int) -> None:
        """Let the balancer send it nothing more, and wait until what it has under way is answered."""
        self._tell(number, "drain")
        until(lambda: self._under_way(number) == 0, f"node {number} has requests under way for ever")

    def undrain(self, number: int) -> None:
        """Let the balancer send it requests again once it is ready."""
        self._tell(number, "ready")

    def _tell(self, number: int, state: str) -> None:
        for backend in ("nodes", "last_resort"):
            assert self.haproxy.ask(f"set server {backend}/node-{number} state {state}").strip() == ""

    def _under_way(self, number: int) -> int:
        return sum(int(row["scur"]) for row in self.haproxy.statistics() if row["svname"] == f"node-{number}")


@dataclass(kw_only=True)
class FleetBehindNginx(Nodes):
    """Behind an nginx."""

    nginx: EmbeddedNginx


@contextlib.contextmanager
def a_fleet(postgres: EmbeddedPostgres, older: OlderRelease | None = None, /, **settings: str) -> Iterator[Fleet]:
    """Start both nodes with *settings* (names without TIDEGATE_), on a schema and of the code of the *older* release."""
    with _ground(postgres, older, a_plan) as (plan, ground), own_haproxy(haproxy_cfg(plan)) as haproxy:
        fleet = Fleet(**ground | {"settings": ground["settings"] | settings}, haproxy=haproxy)
        try:
            for number in (1, 2):
                fleet.start(number, source=None if older is None else older.source)
                until_status(haproxy, number, "UP")
            yield fleet
        finally:
            fleet.stop_all()


@contextlib.contextmanager
def a_fleet_behind_nginx(postgres: EmbeddedPostgres, **settings: str) -> Iterator[FleetBehindNginx]:
    """As `a_fleet`, of our own release."""
    with _ground(postgres, None, a_plan_of_nginx) as (plan, ground), own_nginx(nginx_conf(plan)) as nginx:
        fleet = FleetBehindNginx(**ground | {"settings": ground["settings"] | settings}, nginx=nginx)
        try:
            for number in (1, 2):
                fleet.start(number)
            yield fleet
        finally:
            fleet.stop_all()


@contextlib.contextmanager
def _ground(
    postgres: EmbeddedPostgres, older: OlderRelease | None, plan_before: Callable[..., BalancerPlan]
) -> Iterator[tuple[BalancerPlan, dict[str, Any]]]:
    """What is needed for nodes: a balancer's plan, and the fields of `Nodes`."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-fleet-"))
    name = make_migrated_database(postgres) if older is None else make_database(postgres)
    if older is not None:
        older.migrate_up(postgres.dsn(name))
    given = {
        "TRUSTED_HOPS": "1",
        "API_PROCESSES": "2",
        "DATABASE_CONNECTIONS": "4",
        "SIGNING_KEYS_FILE": str(folder / "signing_keys.json"),
        "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="),
    }
    create_key_file(folder / "signing_keys.json")
    ports = [free_ports(2), free_ports(2)]
    plan = plan_before(ports[0][0], ports[1][0])
    given["ISSUER"] = f"http://{plan.listen}"  # by default each node would be an issuer of its own
    try:
        yield (
            plan,
            {"dsn": postgres.dsn(name), "folder": folder, "ports": ports, "port": plan.listen.port, "settings": given},
        )
    finally:
        drop_database(postgres, name)
        shutil.rmtree(folder, ignore_errors=True)


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
