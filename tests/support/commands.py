"""Runs `tidegate` as people do: as a process, with an environment, for its output and its exit code."""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.client import Client
from tests.support.nodes import free_ports

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 60.0
GONE_WITHIN_S = 30.0


def environment_with(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment without any setting of Tidegate, but with *settings* (names without TIDEGATE_)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    return environment | {f"TIDEGATE_{name}": value for name, value in settings.items()}


def tidegate(
    *words: str | Path, settings: Mapping[str, str] | None = None, cwd: Path = Path("/"), text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, with *settings* and no others, in a folder without .env unless *cwd* names another."""
    return subprocess.run(
        [sys.executable, "-m", "tidegate", *map(str, words)],
        env=environment_with(settings or {}),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


@dataclass
class Up:
    """A running `tidegate up`."""

    folder: Path
    port: int
    metrics_port: int
    process: subprocess.Popen[bytes]
    output: Path

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        client = Client(self.port)
        try:
            yield client
        finally:
            client.close()

    def is_ready(self) -> bool:
        with self.client() as client, contextlib.suppress(OSError, http.client.HTTPException):
            return client.get("/health/ready").status == 200
        return False

    def await_ready(self) -> None:
        """Wait until it serves; fails with what it said when it ends instead."""
        until = time.monotonic() + READY_WITHIN_S
        while not self.is_ready():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < until, self.output.read_text()
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def children(self, *words: str) -> list[int]:
        """Its processes whose command line has all of *words*."""
        found = {pid: _words(pid) for pid in processes_of(self.folder)}
        return sorted(pid for pid, said in found.items() if set(words) <= set(said))


@contextlib.contextmanager
def running_up(
    folder: Path,
    *,
    python: str = sys.executable,
    user: int | None = None,
    environment: Mapping[str, str] | None = None,
    ports: Sequence[int] | None = None,
    umask: int = -1,
    wait: bool = True,
) -> Iterator[Up]:
    """Start `tidegate up` with data in *folder* on free ports; at the end nothing of it is left."""
    port, metrics_port = ports or free_ports(2)
    given = dict(environment_with({}) if environment is None else environment) | {
        "TIDEGATE_METRICS_PORT": str(metrics_port)
    }
    words = ["up", "--port", str(port), "--data-dir", str(folder)]
    with started(words, folder, given, python=python, user=user, umask=umask) as (process, output):
        up = Up(folder, port, metrics_port, process, output)
        if wait:
            up.await_ready()
        yield up


@contextlib.contextmanager
def started(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    python: str = sys.executable,
    user: int | None = None,
    umask: int = -1,
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """Start `tidegate WORDS`, which has its data in *folder*; its process and its output. At the end nothing is left."""
    descriptor, name = tempfile.mkstemp(prefix="tidegate-output-")
    with open(descriptor, "ab") as file:
        process = subprocess.Popen(
            [python, "-P", "-m", "tidegate", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            process_group=0,
            umask=umask,
        )
    try:
        yield process, Path(name)
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
        for pid in [process.pid, *processes_of(folder)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        Path(name).unlink()


@contextlib.contextmanager
def made_folder() -> Iterator[Path]:
    """Where PostgreSQL's user can enter; data lie in folders under it."""
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def processes_of(folder: Path) -> list[int]:
    """The processes that have *folder* in their environment or their words, or that work in it."""
    sought = os.fsencode(folder)
    return [
        pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if pid != os.getpid() and _is_about(pid, sought)
    ]


def _is_about(pid: int, sought: bytes) -> bool:
    for name in ("cmdline", "environ"):
        with contextlib.suppress(OSError):
            if sought in Path(f"/proc/{pid}/{name}").read_bytes():
                return True
    with contextlib.suppress(OSError):  # the sessions of PostgreSQL overwrite both
        return os.fsencode(os.readlink(f"/proc/{pid}/cwd")).startswith(sought)
    return False


def _words(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return [word.decode(errors="replace") for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    return []


def await_gone(folder: Path) -> None:
    """Wait until no process lives for *folder*."""
    until = time.monotonic() + GONE_WITHIN_S
    while left := processes_of(folder):
        assert time.monotonic() < until, [(pid, _words(pid)) for pid in left]
        time.sleep(0.02)
