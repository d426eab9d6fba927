"""The processes of a run: two nodes, two workers, a primary and a Valkey, each of which may be killed, frozen and cut off.

Between any two of them, and before each node, there is a `Line` that can be cut.
"""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tests.faults.balancing import NODE_SETTINGS, Balancer
from tests.faults.families import family_of, kill, kill_family
from tests.faults.history import BALANCER
from tests.faults.primaries import Primaries
from tests.faults.proxy import Address, Line, Proxy
from tests.support.client import Client
from tests.support.nats_servers import own_nats
from tests.support.nodes import free_ports
from tests.support.valkeys import own_valkey
from tidegate.embedded.children import spawn
from tidegate.embedded.nats import EmbeddedNats
from tidegate.embedded.postgres import PORT, ROLE
from tidegate.embedded.valkey import EmbeddedValkey
from tidegate.passwords.profiles import HashProfile
from tidegate.tokens.keys import create_key_file

GRACE_S: Final = 10
REQUEST_DEADLINE_S: Final = 4.0
RECEIVE_DEADLINE_S: Final = 4.0

_SETTINGS: Final[Mapping[str, str]] = {
    "API_PROCESSES": "2",
    "DATABASE_CONNECTIONS": "4",
    "REFRESH_REUSE_GRACE_S": str(GRACE_S),
    "REQUEST_DEADLINE_MS": str(int(REQUEST_DEADLINE_S * 1000)),
    "RECEIVE_DEADLINE_MS": str(int(RECEIVE_DEADLINE_S * 1000)),
    "HASH_WAIT_MS_MAX": "3000",
    "DATABASE_ACQUIRE_TIMEOUT_MS": "1500",
    "DATABASE_CONNECT_TIMEOUT_MS": "2000",
    "DATABASE_STATEMENT_TIMEOUT_MS": "3000",
    # All clients come from one address and fail on purpose.
    "THROTTLE_USER_FAILURES": "0",
    "THROTTLE_PAIR_FAILURES": "0",
    "THROTTLE_DEVICE_FAILURES": "0",
    "THROTTLE_ADDRESS_FAILURES": "0",
    "THROTTLE_ADDRESS_REGISTRATIONS": "0",
    "THROTTLE_ADDRESS_QUESTIONS": "0",
}

_READY_WITHIN_S: Final = 40.0
_GONE_WITHIN_S: Final = 30.0
_CHEAP_HASHES: Final = Path(__file__).parent / "cheap_hashes"

CLOCK_OFF: Final = Path(__file__).parent / "clock_off"
"""Before the paths of Python it makes a process's clock wrong by CLOCK_OFF_S."""

CHEAP_PROFILE: Final = HashProfile("cheap", memory_cost_kib=8, time_cost=1)
"""What `Starting` adds to the profiles where it is asked to, by a sitecustomize of its own."""


@dataclass
class Process:
    """One command of Tidegate, as often as it is started.

    Attributes:
        command: Its words.
        environment: What it is started with.
        folder: Where it works, and where its output is.
        source: The folder of another build's package, or None for ours.
        has_cheap_hashes: It knows `CHEAP_PROFILE`.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    source: Path | None = None
    has_cheap_hashes: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, *, clock_off_s: int = 0) -> None:
        """Start it, with a clock that is wrong by so much; from the main thread."""
        paths = [str(self.source)] if self.source else []
        paths += [str(CLOCK_OFF)] if clock_off_s else []
        paths += [str(_CHEAP_HASHES)] if self.has_cheap_hashes else []
        paths += [path for path in [os.environ.get("PYTHONPATH")] if path]
        wanted = dict(self.environment) | {"PYTHONPATH": os.pathsep.join(paths), "CLOCK_OFF_S": str(clock_off_s)}
        with (self.folder / f"{self.command[0]}.out").open("ab") as output:
            # Bound to us: a test run that is killed leaves nothing behind.
            self._process = spawn(
                [sys.executable, "-m", "tidegate", *self.command],
                death_signal=signal.SIGTERM,
                output=output,
                environment=wanted,
                working_folder=self.folder,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The one that was started last."""
        assert self._process is not None, "it has not been started"
        return self._process

    def pids(self) -> list[int]:
        """It, then its children."""
        return family_of(self.process.pid)

    def terminate(self) -> int:
        """Ask it to stop, and wait until it has."""
        self.process.terminate()
        return self.process.wait(_GONE_WITHIN_S)

    def kill(self) -> None:
        """End it and its children with kill -9, all at one moment: none has time to tell the others."""
        kill_family(self.process.pid)
        self.process.wait()

    def end(self) -> None:
        """Whatever it does now, let nothing of it be left."""
        if self._process is not None and self._process.poll() is None:
            pids = self.pids()
            self._process.terminate()
            try:
                self._process.wait(_GONE_WITHIN_S)
            except subprocess.TimeoutExpired:
                for pid in pids:
                    kill(pid)
                self._process.wait()


@dataclass
class Node:
    """One API node.

    Attributes:
        name: In histories.
        port: Its own; clients go through `front`.
        front: The line of the clients.
        database: Its line to the primary.
        cache: Its line to Valkey.
        queue: Its line to NATS.
        api: Its processes.
    """

    name: str
    port: int
    front: Line
    database: Line
    cache: Line
    queue: Line
    api: Process

    def api_processes(self) -> list[int]:
        """Those that serve, without the parent and the keeper of the existence filter."""
        return [pid for pid in self.api.pids()[1:] if b"api-process" in _words(pid)]

    def await_ready(self) -> None:
        """Wait until it serves.

        Raises:
            AssertionError: It does not; says what it said.
        """
        client = Client(self.port, timeout_s=5)
        give_up_at = time.monotonic() + _READY_WITHIN_S
        while not self._is_ready(client):
            said = (self.api.folder / "api.out").read_text(errors="replace")[-2000:]
            assert self.api.process.poll() is None, said
            assert time.monotonic() < give_up_at, said
            time.sleep(0.05)
        client.close()

    @staticmethod
    def _is_ready(client: Client) -> bool:
        with contextlib.suppress(OSError):
            return client.get("/health/ready").status == 200
        return False


def _words(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


@dataclass
class Parts:
    """All processes of a run, and the lines between them.

    Attributes:
        primaries: Durable, for what they acknowledged must survive kill -9.
        queue: The workers' line to NATS.
        database: Its name, in all of them.
        operator: The environment of a `tidegate users` whose line to the primary is never disturbed, like the workers'.
        balancer: Before the nodes; None: clients know them.
    """

    folder: Path
    primaries: Primaries
    valkey: EmbeddedValkey
    nats: EmbeddedNats
    queue: Line
    database: str
    nodes: list[Node]
    workers: list[Process]
    operator: Mapping[str, str]
    balancer: Balancer | None

    @property
    def ports(self) -> dict[str, int]:
        """Where clients come, by the names that histories have."""
        return self.ports_of_nodes if self.balancer is None else {BALANCER: self.balancer.port}

    @property
    def ports_of_nodes(self) -> dict[str, int]:
        """Where each node is asked for itself."""
        return {node.name: node.front.port for node in self.nodes}

    @property
    def dsn(self) -> str:
        """Of whoever leads now, past all lines."""
        return self.primaries.leader.dsn(self.database)

    def node(self, name: str) -> Node:
        """The node called *name*."""
        return next(node for node in self.nodes if node.name == name)


class Starting:
    """Starts the parts of a run and ends them again; a context."""

    def __init__(
        self,
        folder: Path,
        primaries: Primaries,
        database: str,
        *,
        source: Path | None = None,
        is_balanced: bool = False,
        **settings: str,
    ) -> None:
        """Nothing happens before the block.

        Args:
            folder: For whatever the parts write.
            primaries: Have been started; may be killed by the run, and are left running.
            database: The name of a migrated one in them.
            source: See `Process`.
            is_balanced: Clients go through HAProxy.
            settings: Of all nodes and workers, other than those of every run; without TIDEGATE_.
        """
        self._folder = folder
        self._primaries = primaries
        self._database = database
        self._source = source
        self._is_balanced = is_balanced
        self._settings = (NODE_SETTINGS if is_balanced else {}) | settings
        self._has_cheap_hashes = settings.get("HASH_PROFILE") == CHEAP_PROFILE.name
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Parts:
        with contextlib.ExitStack() as stack:
            valkey = stack.enter_context(own_valkey())
            proxy = stack.enter_context(Proxy())
            shared = self._shared_settings()
            nats = stack.enter_context(own_nats())
            nodes = [self._node(name, proxy, valkey, nats, shared) for name in ("node-1", "node-2")]
            steady = self._dsn_of(proxy.line(self._leads_at))
            operator = self._environment({**shared, "PRIMARY_DSN": steady})
            queue, queue_url = _line_to(nats, proxy)
            working = self._environment({**shared, "PRIMARY_DSN": steady, "QUEUE_URL": queue_url})
            workers = [self._worker(name, working) for name in ("worker-1", "worker-2")]
            for node in nodes:
                stack.callback(node.api.end)
                node.api.start()
            for worker in workers:
                stack.callback(worker.end)
                worker.start()
            for node in nodes:
                node.await_ready()
            balancer = self._balancer(nodes, stack) if self._is_balanced else None
            self._closing = stack.pop_all()
            return Parts(
                self._folder, self._primaries, valkey, nats, queue, self._database, nodes, workers, operator, balancer
            )

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _balancer(self, nodes: Sequence[Node], stack: contextlib.ExitStack) -> Balancer:
        balancer = Balancer.before(
            [node.front.port for node in nodes],
            self._folder / BALANCER,
            request_deadline_s=REQUEST_DEADLINE_S,
            receive_deadline_s=RECEIVE_DEADLINE_S,
        )
        stack.enter_context(balancer.haproxy)
        return balancer

    def _leads_at(self) -> Address:
        return Address(path=self._primaries.leader.socket_folder / f".s.PGSQL.{PORT}")

    def _dsn_of(self, line: Line) -> str:
        return f"postgresql://{ROLE}@127.0.0.1:{line.port}/{self._database}"

    def _shared_settings(self) -> dict[str, str]:
        keys_file = self._folder / "signing_keys.json"
        create_key_file(keys_file)
        return {
            **_SETTINGS,
            "SIGNING_KEYS_FILE": str(keys_file),
            "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="),
            "ISSUER": "http://tidegate.test",
            **self._settings,
        }

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        return environment | {f"TIDEGATE_{name}": value for name, value in settings.items()}

    def _worker(self, name: str, settings: Mapping[str, str]) -> Process:
        folder = self._folder / name
        folder.mkdir()
        return Process(("worker",), settings, folder, self._source, self._has_cheap_hashes)

    def _node(self, name: str, proxy: Proxy, valkey: EmbeddedValkey, nats: EmbeddedNats, shared: Mapping[str, str]) -> Node:
        folder = self._folder / name
        folder.mkdir()
        port, metrics_port = free_ports(2)
        database = proxy.line(self._leads_at)
        cache = proxy.line(lambda: Address(path=Path(unquote(valkey.url.removeprefix("unix://")))))
        queue, queue_url = _line_to(nats, proxy)
        settings = {
            **shared,
            "PORT": str(port),
            "METRICS_PORT": str(metrics_port),
            "PRIMARY_DSN": self._dsn_of(database),
            "CACHE_URL": f"valkey://127.0.0.1:{cache.port}/0",
            "QUEUE_URL": queue_url,
            "LOG_FILE": str(folder / "api.log"),
            "REPLICA_DSNS": " ".join(replica.dsn(self._database) for replica in self._primaries.replicas),
        }
        front = proxy.line(lambda: Address(port=port))
        api = Process(("api",), self._environment(settings), folder, self._source, self._has_cheap_hashes)
        return Node(name, port, front, database, cache, queue, api)


def _line_to(nats: EmbeddedNats, proxy: Proxy) -> tuple[Line, str]:
    """A new line to *nats*, and the URL that leads through it."""
    server = urlsplit(nats.url)
    line = proxy.line(lambda: Address(port=server.port or 0))
    return line, f"nats://{server.username}:{server.password}@127.0.0.1:{line.port}"
