"""Makes the parts of a cluster in their order: each server with a line to it, each program with its settings."""

import asyncio
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.nginx import nginx_conf
from tidegate.balancer.plan import Address, BalancerPlan
from tidegate.cli.cluster_parts import Part, line_to
from tidegate.cli.exits import EXPECTED
from tidegate.cli.folder import DataFolder
from tidegate.cli.starting import STOP_PATIENCE_S, child_of, program
from tidegate.cli.supervision import Child, Signals, say
from tidegate.cluster.layout import NODE_HOST, Kind, Layout, Servers
from tidegate.config import Settings
from tidegate.embedded.children import SystemUser
from tidegate.embedded.folders import SocketFolder, make_folder
from tidegate.embedded.haproxy import EmbeddedHaproxy
from tidegate.embedded.nats import EmbeddedNats
from tidegate.embedded.nginx import EmbeddedNginx
from tidegate.embedded.ports import LOOPBACK, free_port
from tidegate.embedded.postgres import DATABASE, ROLE, EmbeddedPostgres
from tidegate.embedded.replica import EmbeddedReplica
from tidegate.embedded.server import EmbeddedServer, EmbeddedServerError
from tidegate.embedded.valkey import EmbeddedValkey
from tidegate.migrations.runner import Runner
from tidegate.settings_building import build_settings
from tidegate.settings_sources import write_settings

SETTINGS_FOLDER: Final = "settings"
"""In the data folder: what each part was told."""

_LINES_PREFIX: Final = "tidegate-cl-"
_LINKED: Final = "server"
"""Beside a line: a link to the folder in which its server listens now, which has another name after each start."""

_POSTGRES_SOCKET: Final = ".s.PGSQL.5432"
"""As libpq calls it in a folder that a DSN names as host."""

_CONNECTIONS_BESIDE: Final = 50
"""For workers, replicas, the watcher, other commands, and people with psql."""


@dataclass
class Starting:
    """Makes and starts what `layout` has.

    Attributes:
        layout: What is to be made.
        said: What the operator said, secrets included.
        settings: The same, as settings.
        folder: Where everything lies.
        tell: Told what becomes of a part.
        signals: When to stop.
        balancer: Which program it is to be; None: HAProxy where there is one, else nginx.
        parts: What has been started, in the order of its start.
        dsns: Of the PostgreSQL servers by name, past their lines.
    """

    layout: Layout
    said: Mapping[str, str]
    settings: Settings
    folder: DataFolder
    tell: Callable[[str], None]
    signals: Signals
    balancer: Kind | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    dsns: dict[str, str] = field(default_factory=dict)
    _lines: Path = field(default=Path("/"), init=False)

    def start(self, running: ExitStack) -> None:
        """Start all. *running* is told how to remove what belongs to no part."""
        sockets = SocketFolder(
            prefix=_LINES_PREFIX,
            socket_name=f"replica-9/{_POSTGRES_SOCKET}~",
            note=self.folder.path / "socket-folder",
        )
        self._lines = sockets.make(SystemUser.current())
        running.callback(sockets.remove)
        if not (self.folder.postgres / "cluster" / "PG_VERSION").exists():
            say(f"tidegate: making the database in {self.folder.path}")
        primary = self._primary()
        self._start_postgres(Kind.POSTGRES, Kind.POSTGRES, primary)
        asyncio.run(Runner(self.dsns[Kind.POSTGRES]).up())
        common = self.layout.common(self.said, self._start_servers())
        write_settings(self.folder.settings, common)
        make_folder(self.folder.path / SETTINGS_FOLDER, mode=0o700)
        for name in self.layout.worker_names():
            self._start_program("worker", name, Kind.WORKER, self.layout.of_worker(name, common))
        for name in self.layout.node_names():
            self._start_program("api", name, Kind.API, self.layout.of_node(name, common))
        for name in self.layout.replica_names():  # while the programs get ready, for both take a second
            if not (self.folder.path / name / "cluster" / "PG_VERSION").exists():
                say(f"tidegate: copying the database for {name}")
            self._start_postgres(name, Kind.REPLICA, self._replica(name, primary))
        self._start_balancer()
        in_order = sorted(self.parts.values(), key=lambda part: list(Kind).index(part.kind))
        self.parts.clear()
        self.parts.update({part.name: part for part in in_order})

    def _start_servers(self) -> Servers:
        return Servers(
            primary_dsn=_dsn(self._lines / Kind.POSTGRES),
            replica_dsns=tuple(_dsn(self._lines / name) for name in self.layout.replica_names()),
            cache_url=self.settings.cache_url or self._start_valkey(),
            queue_url=self.settings.queue_url or self._start_nats(),
        )

    def _primary(self) -> EmbeddedPostgres:
        return EmbeddedPostgres(
            self.folder.postgres,
            binaries=self.settings.postgres_bin,
            user=self.settings.embedded_user,
            connections_max=self.layout.nodes * self.settings.database_connections_budget + _CONNECTIONS_BESIDE,
        )

    def _replica(self, name: str, primary: EmbeddedPostgres) -> EmbeddedReplica:
        return EmbeddedReplica(
            self.folder.path / name,
            primary=primary,
            name=name.replace("-", "_"),  # as a replication slot may be called
            binaries=self.settings.postgres_bin,
            user=self.settings.embedded_user,
        )

    def _start_postgres(self, name: str, kind: Kind, server: EmbeddedPostgres) -> None:
        folder = self._start_server(name, kind, server, lambda: server.socket_folder, _POSTGRES_SOCKET)
        self.dsns[name] = _dsn(folder / _LINKED)

    def _start_valkey(self) -> str:
        server = EmbeddedValkey(self.folder.valkey, program=self.settings.valkey_program)
        socket_name = "valkey.sock"
        folder = self._start_server(
            Kind.VALKEY, Kind.VALKEY, server, lambda: Path(unquote(urlsplit(server.url).path)).parent, socket_name
        )
        return f"unix://{quote(str(folder / socket_name))}"

    def _start_nats(self) -> str:
        """It knows no Unix sockets, so its line has a port, and its callers the server's name and password."""
        server = EmbeddedNats(self.folder.nats, program=self.settings.nats_program)
        part = self._start_child(Kind.NATS, Kind.NATS, server, child_of(server, self.signals))
        there = urlsplit(server.url)
        address = f"{LOOPBACK}:{free_port()}"
        target = f"{there.hostname}:{there.port}"
        part.lay_line(line_to(Kind.NATS, address, target, self.folder.log("lines"), self.tell))
        return urlunsplit(there._replace(netloc=f"{there.username}:{there.password}@{address}"))

    def _start_server(
        self, name: str, kind: Kind, server: EmbeddedServer, listens_in: Callable[[], Path], socket_name: str
    ) -> Path:
        """Start *server* and the line to it; the folder in which the line listens, under the server's own *socket_name*."""
        folder = self._lines / name
        make_folder(folder, mode=0o700)
        child = child_of(server, self.signals)
        _linking(child, folder / _LINKED, listens_in)
        part = self._start_child(name, kind, server, child)
        target = str(folder / _LINKED / socket_name)
        part.lay_line(line_to(name, str(folder / socket_name), target, self.folder.log("lines"), self.tell))
        return folder

    def _start_balancer(self) -> None:
        plan = BalancerPlan(
            nodes=tuple(Address(NODE_HOST, self.layout.port_of(name)) for name in self.layout.node_names()),
            listen=Address(f"[{self.layout.host}]" if ":" in self.layout.host else self.layout.host, self.layout.port),
            metrics=Address(NODE_HOST, self.layout.balancer_metrics_port),
            cache_folder="cache",  # in the folder of nginx
            failures_log="/dev/stdout",
            request_deadline_s=self.settings.request_deadline_ms / 1000,
            receive_deadline_s=self.settings.receive_deadline_ms / 1000,
        )
        haproxy = EmbeddedHaproxy(self.folder.path / Kind.HAPROXY, haproxy_cfg(plan), program=self.settings.haproxy_program)
        nginx = EmbeddedNginx(self.folder.path / Kind.NGINX, nginx_conf(plan), program=self.settings.nginx_program)
        # One that was named is what the operator wants: if it cannot run, that is told.
        wanted = self.balancer or (Kind.HAPROXY if self.settings.haproxy_program else None) or present(haproxy, nginx)
        server = nginx if wanted is Kind.NGINX else haproxy
        self._start_child(wanted, wanted, server, child_of(server, self.signals))

    def _start_child(self, name: str, kind: Kind, server: EmbeddedServer, child: Child) -> Part:
        child.name, child.passing, child.tell = name, EXPECTED, self.tell
        part = self.parts[name] = Part(name, kind, child, server.log, server.stop)
        child.tend()
        # A replica whose primary is frozen took 13 s to start, in which nobody else was looked after.
        child.apart = ThreadPoolExecutor(max_workers=1)
        return part

    def _start_program(self, command: str, name: str, kind: Kind, texts: Mapping[str, str]) -> None:
        write_settings(self.folder.path / SETTINGS_FOLDER / f"{name}.env", texts)
        told = build_settings(texts)
        patience_s = told.stop_notice_ms / 1000 + STOP_PATIENCE_S
        child = program(command, name, texts, self.folder, patience_s=patience_s, log=name, tell=self.tell)
        self.parts[name] = Part(name, kind, child, self.folder.log(name), child.stop)
        child.tend()


def present(haproxy: EmbeddedHaproxy, nginx: EmbeddedNginx) -> Kind:
    """What can stand before the nodes on this machine.

    Raises:
        EmbeddedServerError: Neither is there.
    """
    if haproxy.is_installed():
        return Kind.HAPROXY
    if not nginx.is_installed():
        raise EmbeddedServerError(
            "neither HAProxy nor nginx was found to stand before the nodes; install the extra tidegate[embedded] or "
            "Debian's haproxy or nginx, or set TIDEGATE_HAPROXY_PROGRAM or TIDEGATE_NGINX_PROGRAM to the program"
        )
    say("tidegate: no HAProxy was found, so nginx stands before the nodes; docs/BALANCER.md tells what it cannot")
    return Kind.NGINX


def _linking(child: Child, link: Path, listens_in: Callable[[], Path]) -> None:
    """Let *link* lead to where *child*, a server, listens after each of its starts."""
    start = child.start

    def start_and_link() -> "subprocess.Popen[bytes]":
        process = start()
        making = link.with_name(link.name + "~")
        making.unlink(missing_ok=True)
        making.symlink_to(listens_in())
        making.replace(link)
        return process

    child.start = start_and_link


def _dsn(folder: Path) -> str:
    return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(folder))}&port=5432"
