"""Starts real `tidegate api` and `tidegate worker` processes against the test's database, and stops them again."""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.client import Client
from tidegate.embedded.children import spawn
from tidegate.embedded.ports import free_port
from tidegate.tokens.keys import create_key_file

READY_WITHIN_S = 30.0

_UNTHROTTLED = {
    "THROTTLE_USER_FAILURES": "0",
    "THROTTLE_PAIR_FAILURES": "0",
    "THROTTLE_DEVICE_FAILURES": "0",
    "THROTTLE_ADDRESS_FAILURES": "0",
    "THROTTLE_ADDRESS_REGISTRATIONS": "0",
    "THROTTLE_ADDRESS_QUESTIONS": "0",
}
"""All tests come from one address and fail on purpose; who tests the throttle sets limits."""

_UNTHROTTLED_SINCE = {"THROTTLE_USER_COUPONS": "0", "THROTTLE_ADDRESS_COUPONS": "0"}
"""Likewise; of `tests.support.older` these are unknown, and nobody starts on an unknown setting."""


@dataclass(frozen=True)
class Node:
    """A running node.

    Attributes:
        port: Of the API.
        metrics_port: Of /metrics.
        dsn: Its database.
        folder: Where its keys and logs are.
        process: The parent of its API processes.
        environment: What it was started with.
    """

    port: int
    metrics_port: int
    dsn: str
    folder: Path
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]

    @property
    def keys_file(self) -> Path:
        return self.folder / "signing_keys.json"

    @property
    def log_file(self) -> Path:
        return self.folder / "api.log"

    def client(self) -> Client:
        return Client(self.port)

    def command(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run `tidegate` with the node's settings."""
        return subprocess.run(
            [sys.executable, "-m", "tidegate", *words],
            env=dict(self.environment),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@contextlib.contextmanager
def running_node(dsn: str, folder: Path, source: Path | None = None, /, **settings: str) -> Iterator[Node]:
    """Start the API with *settings* (names without TIDEGATE_), on free ports if they name none, and stop it at the end.

    Args:
        source: The folder of the package tidegate, when it is not ours.
    """
    port, metrics_port = free_ports(2)
    keys_file = Path(settings.get("SIGNING_KEYS_FILE", folder / "signing_keys.json"))
    if not keys_file.exists():  # else another node's
        create_key_file(keys_file)
    given = {
        "PRIMARY_DSN": dsn,
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "SIGNING_KEYS_FILE": str(keys_file),
        "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="),
        "LOG_FILE": str(folder / "api.log"),
        **_UNTHROTTLED,
        **(_UNTHROTTLED_SINCE if source is None else {}),
    } | settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    environment |= {f"TIDEGATE_{name}": value for name, value in given.items()}
    if source is not None:
        environment["PYTHONPATH"] = str(source)
    with _running("api", environment, folder) as process:
        node = Node(int(given["PORT"]), int(given["METRICS_PORT"]), dsn, folder, process, environment)
        _await_ready(node)
        yield node


@contextlib.contextmanager
def running_worker(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker with the node's settings, and stop it at the end."""
    log_file = {"TIDEGATE_LOG_FILE": str(node.folder / "worker.log")}
    with _running("worker", {**node.environment, **log_file}, node.folder) as process:
        yield process


@contextlib.contextmanager
def _running(command: str, environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{command}.out").open("ab") as output:
        # Bound to us: a test run that is killed leaves no node behind.
        process = spawn(
            [sys.executable, "-m", "tidegate", command],
            death_signal=signal.SIGTERM,
            output=output,
            environment=environment,
            working_folder=folder,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _await_ready(node: Node) -> None:
    client = Client(node.port, timeout_s=5)
    until = time.monotonic() + READY_WITHIN_S
    while True:
        with contextlib.suppress(OSError):
            if client.get("/health/ready").status == 200:
                client.close()
                return
        output = (node.folder / "api.out").read_text()
        assert node.process.poll() is None, output
        assert time.monotonic() < until, output
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now; not those that outgoing connections of other programs are given."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
