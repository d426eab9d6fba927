"""The Tidegate that is measured: started for it, or one that runs already; and the users that log in."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import msgspec
from dotenv import dotenv_values

START_S_MAX: Final = 60.0
STOP_S_MAX: Final = 20.0
PASSWORD: Final = "correct horse battery staple"  # of users who exist for minutes


class CannotMeasureError(Exception):
    """The benchmark cannot go on: one sentence for whoever started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running Tidegate.

    Attributes:
        base: Such as http://127.0.0.1:8080.
        dsn: Its database.
        pid: The process whose children serve it all; None: nothing is known of its processes.
    """

    base: str
    dsn: str
    pid: int | None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            CannotMeasureError: It is not plain HTTP.
        """
        parts = urlsplit(self.base)
        if parts.scheme != "http" or not parts.hostname:
            raise CannotMeasureError(f"{self.base} is not an http:// URL.")
        return parts.hostname, parts.port or 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Users who share one password and one hash of it.

    Attributes:
        username_prefix: A username is this and a number from 0.
        users: How many.
        password: Theirs.
        stored: Its hash, made by the Tidegate under test: so it is of the profile that it runs.
    """

    username_prefix: str
    users: int
    password: str
    stored: str


@contextmanager
def started() -> Iterator[Target]:
    """Run `tidegate up` on a free port with a data folder of its own; both are gone afterwards.

    Its settings are those of the environment: `TIDEGATE_HASH_PROFILE=... python -m bench.login` measures another profile.
    Where it cannot be measured its folder stays: that is where its logs are.

    Raises:
        CannotMeasureError: It does not become ready; the sentence ends with the last line of its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must be able to enter
    command = Path(sys.executable).with_name("tidegate")
    port = _free_port()
    data, log = folder / "data", folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "up", "--port", str(port), "--data-dir", data],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    is_kept = False
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        dsn = dotenv_values(data / "tidegate.env").get("TIDEGATE_PRIMARY_DSN")
        if not dsn:
            raise CannotMeasureError(f"{data / 'tidegate.env'} names no TIDEGATE_PRIMARY_DSN.")
        yield Target(base=f"http://127.0.0.1:{port}", dsn=dsn, pid=process.pid)
    except CannotMeasureError:
        is_kept = True
        raise
    finally:
        _stop(process)
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def crowd(target: Target, *, users: int) -> Iterator[Crowd]:
    """Have so many users who can log in; they and their sessions are gone afterwards.

    One registers, as people do; the others are copies of its row, which takes a moment instead of a hash for each.

    Raises:
        CannotMeasureError: The first cannot register.
    """
    prefix = f"bench-{uuid4().hex[:8]}-"
    _register(target, f"{prefix}first")
    stored = asyncio.run(_copy(target.dsn, prefix, users))
    try:
        yield Crowd(username_prefix=prefix, users=users, password=PASSWORD, stored=stored)
    finally:
        asyncio.run(_remove(target.dsn, prefix))


def _register(target: Target, username: str) -> None:
    body = msgspec.json.encode({"username": username, "password": PASSWORD})
    request = urllib.request.Request(f"{target.base}/register", body, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except OSError as error:
        raise CannotMeasureError(f"Nobody can register at {target.base}: {error}.") from error


async def _copy(dsn: str, prefix: str, users: int) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        stored: str = await connection.fetchval("SELECT password FROM users WHERE username = $1", f"{prefix}first")
        await connection.execute(
            "INSERT INTO users (userid, username, password)"
            " SELECT gen_random_uuid(), $1 || number, $2 FROM generate_series(0, $3::int - 1) AS number",
            prefix,
            stored,
            users,
        )
        await connection.execute("ANALYZE users")
    finally:
        await connection.close()
    return stored


async def _remove(dsn: str, prefix: str) -> None:
    ours = "SELECT userid FROM users WHERE starts_with(username, $1)"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"DELETE FROM sessions WHERE user_id IN ({ours})", prefix)
        await connection.execute("DELETE FROM users WHERE starts_with(username, $1)", prefix)
    finally:
        await connection.close()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _wait_until_ready(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends_at = time.monotonic() + START_S_MAX
    while time.monotonic() < ends_at and process.poll() is None:
        try:
            urllib.request.urlopen(f"{base}/health/ready", timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    lines = log.read_text(errors="replace").strip().splitlines() or ["It said nothing."]
    raise CannotMeasureError(f"tidegate up does not become ready: {lines[-1]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
