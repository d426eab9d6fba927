"""Several nodes of one Tidegate on one PostgreSQL, all on this machine, started piece by piece."""

import asyncio
import base64
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import node
from bench.dialect import PASSWORD
from bench.ground import STOP_S_MAX, Ground, free_port, running
from bench.processes import Tree

from tidegate.balancer.haproxy import haproxy_cfg
from tidegate.balancer.plan import Address, BalancerPlan
from tidegate.config import PREFIX
from tidegate.embedded.children import spawn
from tidegate.embedded.haproxy import EmbeddedHaproxy
from tidegate.embedded.nats import EmbeddedNats
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.replica import EmbeddedReplica
from tidegate.embedded.valkey import EmbeddedValkey
from tidegate.migrations.runner import Runner
from tidegate.passwords.notations.argon2 import hash_argon2id
from tidegate.passwords.profiles import DEFAULT_PROFILE
from tidegate.tokens.keys import create_key_file

_HOST: Final = "127.0.0.1"
_CONNECTIONS_MAX: Final = 400
"""More than all nodes of a scenario take together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A program of the installation.

    Attributes:
        port: Where it answers.
        pid: Its process, the parent of all others of it.
    """

    port: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The servers that all nodes share, and a worker.

    Attributes:
        ground: The primary and its users.
        replica_dsns: Of the replicas.
        replicas: Their processes; None where there are none.
        background: The processes of Valkey, NATS and the workers that it began with.
    """

    ground: Ground
    replica_dsns: Sequence[str]
    replicas: Tree | None
    background: Tree
    _settings: dict[str, str]
    _stack: ExitStack

    def node(self, name: str, *, processes: int, replicas: int = 0) -> Running:
        """Start a node of as many API processes, each with one hash thread, and wait until it is ready.

        Raises:
            CannotMeasureError: It does not become ready.
        """
        port = free_port()
        settings = self._settings | _prefixed(
            PORT=str(port),
            METRICS_PORT=str(free_port()),
            LOG_FILE=str(self.ground.folder / f"{name}.log"),
            REPLICA_DSNS=" ".join(self.replica_dsns[:replicas]),
            API_PROCESSES=str(processes),
            HASH_THREADS="1",
        )
        process = self._stack.enter_context(
            running(
                [sys.executable, "-m", "tidegate", "api"],
                ready_url=f"http://{_HOST}:{port}/health/ready",
                log=self.ground.folder / f"{name}.out",
                environment=settings,
            )
        )
        return Running(port=port, pid=process.pid)

    def worker(self, name: str) -> Tree:
        """Start another worker; it need not be ready yet."""
        return Tree(_worker(self._stack, name, self.ground.folder, self._settings).pid)

    def balancer(self, name: str, nodes: Sequence[Running]) -> Running:
        """Start a HAProxy before *nodes*."""
        plan = BalancerPlan(nodes=tuple(Address(_HOST, each.port) for each in nodes), listen=Address(_HOST, free_port()))
        haproxy = self._stack.enter_context(EmbeddedHaproxy(self.ground.folder / name, haproxy_cfg(plan)))
        return Running(port=plan.listen.port, pid=haproxy.process.pid)


@contextmanager
def started(
    folder: Path,
    *,
    users: int,
    replicas: int = 0,
    workers: int = 1,
    fill: Callable[[str, int], Coroutine[Any, Any, None]] = node.fill,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Installation]:
    """Run all that nodes need in *folder*; nothing of it runs any more at the end, nor any node.

    Args:
        folder: Where everything lies.
        users: How many can log in.
        replicas: How many follow the primary.
        workers: How many do the jobs from the beginning.
        fill: Makes so many users in the database of that connection string.
        environment: Of all processes of Tidegate, above what a benchmark gives them.
    """
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must be able to enter
    with ExitStack() as stack:
        primary = stack.enter_context(EmbeddedPostgres(folder / "postgres", connections_max=_CONNECTIONS_MAX))
        asyncio.run(Runner(primary.dsn()).up())
        asyncio.run(fill(primary.dsn(), users))
        names = [f"replica_{number}" for number in range(1, replicas + 1)]
        following = [stack.enter_context(EmbeddedReplica(folder / name, primary=primary, name=name)) for name in names]
        cache = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        queue = stack.enter_context(EmbeddedNats(folder / "nats"))
        create_key_file(folder / "keys.json")
        settings = (
            node.environment()
            | dict(environment or {})
            | _prefixed(
                PRIMARY_DSN=primary.dsn(),
                CACHE_URL=cache.url,
                QUEUE_URL=queue.url,
                SIGNING_KEYS_FILE=str(folder / "keys.json"),
                REFRESH_MAC_KEY=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="),
                ISSUER=f"http://{_HOST}:8080",  # one for all, else none takes the tokens of another
                TRUSTED_HOPS="1",
                STOP_NOTICE_MS="0",
            )
        )
        working = [_worker(stack, f"worker-{number}", folder, settings).pid for number in range(1, workers + 1)]
        roots = [each.process.pid for each in following]
        yield Installation(
            ground=Ground(
                dsn=primary.dsn(),
                postgres=Tree(primary.process.pid),
                users=users,
                stored=hash_argon2id(PASSWORD.encode(), DEFAULT_PROFILE),
                folder=folder,
            ),
            replica_dsns=[each.dsn() for each in following],
            replicas=Tree(roots[0], also=tuple(roots[1:])) if roots else None,
            background=Tree(queue.process.pid, also=(cache.process.pid, *working)),
            _settings=settings,
            _stack=stack,
        )


def _worker(stack: ExitStack, name: str, folder: Path, settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a worker: without one the jobs of the logins would pile up."""
    output = stack.enter_context((folder / f"{name}.out").open("ab"))
    process = spawn(
        [sys.executable, "-m", "tidegate", "worker"],
        death_signal=signal.SIGTERM,
        output=output,
        environment=settings | _prefixed(LOG_FILE=str(folder / f"{name}.log")),
    )
    stack.callback(_stop, process)
    return process


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _prefixed(**settings: str) -> dict[str, str]:
    return {f"{PREFIX}{name}": text for name, text in settings.items()}
