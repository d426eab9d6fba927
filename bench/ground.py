"""What every service under measurement stands on: one PostgreSQL, one crowd of users with one hash, ports, processes."""

import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
from bench.dialect import Dialect
from bench.processes import Tree

from tidegate.embedded.children import spawn

START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 20.0


class CannotMeasureError(Exception):
    """The benchmark cannot go on: one sentence for whoever started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One that runs and answers.

    Attributes:
        name: In tables.
        port: On 127.0.0.1.
        tree: All its processes, PostgreSQL aside.
        dialect: How it is spoken to.
        beside: Other processes whose CPU time is told apart, by what they are called in `turns.Window.cpu_s`.
    """

    name: str
    port: int
    tree: Tree
    dialect: Dialect
    beside: Mapping[str, Tree] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The PostgreSQL of a run and the users that every service gets.

    Attributes:
        dsn: Of Tidegate's database in it; a peer has another one in the same server.
        postgres: Its processes.
        users: How many there are, numbered from 1.
        stored: The hash of the password that all of them have.
        folder: Where logs go.
    """

    dsn: str
    postgres: Tree
    users: int
    stored: str
    folder: Path

    @property
    def socket_folder(self) -> str:
        """Where PostgreSQL listens."""
        return parse_qs(urlsplit(self.dsn).query)["host"][0]

    @property
    def port(self) -> str:
        """Of the socket's name."""
        return parse_qs(urlsplit(self.dsn).query)["port"][0]

    @property
    def role(self) -> str:
        """Whom everybody connects as."""
        return str(urlsplit(self.dsn).username)

    def dsn_of(self, database: str, *, scheme: str = "postgres") -> str:
        """The connection string of *database*, for drivers that read a socket's folder from the parameter `host`."""
        return f"{scheme}://{self.role}@/{database}?host={quote(self.socket_folder, safe='/')}&port={self.port}"

    async def make_database(self, name: str) -> None:
        """Make an empty database."""
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()

    async def run_script(self, database: str, script: str, *, stored: str | None = None) -> None:
        """Run *script*, written for psql, whose variables `n` and `hash` are the number of users and their hash.

        Args:
            database: Where.
            script: Statements that each end a line with their semicolon.
            stored: Another notation of the hash; None: ours.
        """
        values = {"n": str(self.users), "'hash'": f"'{stored or self.stored}'"}
        script = re.sub(r"(?<!:):(n\b|'hash')", lambda found: values[found[1]], script)
        connection = await asyncpg.connect(self.dsn_of(database))
        try:
            for statement in filter(str.strip, script.split(";\n")):
                await connection.execute(statement)
        finally:
            await connection.close()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def running(
    words: Sequence[str | Path],
    *,
    ready_url: str,
    log: Path,
    environment: Mapping[str, str],
    start_s_max: float = START_S_MAX,
    stop_s_max: float = STOP_S_MAX,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends, from when it answers *ready_url* with 200.

    Args:
        words: The program and its arguments.
        ready_url: Asked until it answers.
        log: Where its output goes.
        environment: All of it.
        start_s_max: How long it may take until it is ready.
        stop_s_max: How long it may take to stop before it is killed.

    Raises:
        CannotMeasureError: It does not become ready; the sentence ends with the last line of its log.
    """
    with log.open("ab") as output:
        process = spawn(words, death_signal=signal.SIGTERM, output=output, environment=environment)
    try:
        _wait_until_ready(ready_url, process, log, start_s_max)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(stop_s_max)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path, start_s_max: float) -> None:
    ends_at = time.monotonic() + start_s_max
    while time.monotonic() < ends_at and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    lines = log.read_text(errors="replace").strip().splitlines() or ["It said nothing."]
    raise CannotMeasureError(f"{log.stem} does not become ready: {lines[-1]}")
