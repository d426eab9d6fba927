"""Measures how many jobs a second one worker does: `python -m bench.jobs`, with PostgreSQL and NATS on the same machine.

The worker is the real process; its jobs are those of logins of many users, put before it starts. CPU time is what counts on
a machine that others use too: jobs a CPU second, and what share of the two cores the worker, PostgreSQL and NATS had.
"""

import argparse
import asyncio
import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg
from bench.turns import Jobs

from tidegate.embedded.nats import EmbeddedNats
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.migrations.runner import Runner

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_POLL_S: Final = 0.02


async def put(dsn: str, users: int, jobs: int) -> None:
    """Make *users* and *jobs*, the jobs of each user spread over all of them."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO users (userid, username, password)"
            " SELECT gen_random_uuid(), 'user' || n, 'x' FROM generate_series(1, $1::int) n".replace("$1::int", str(users))
        )
        await connection.execute(
            "INSERT INTO jobs (kind, user_id) SELECT 'login_succeeded', userid"
            f" FROM users, generate_series(1, {jobs // users}) n ORDER BY n, userid"
        )
        await connection.execute("VACUUM ANALYZE users, jobs")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


def cpu_s(pids: Sequence[int]) -> float:
    """CPU time of *pids* and of their children that live or were waited for."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15]) / _TICKS
    return total


def family(parent: int) -> list[int]:
    """*parent* and its children."""
    return [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]


def start_worker(environment: dict[str, str], folder: Path) -> "subprocess.Popen[bytes]":
    """A worker process."""
    return subprocess.Popen([sys.executable, "-m", "tidegate", "worker"], env=environment, cwd=folder)


async def measured(dsn: str, folder: Path, queue_url: str, watched: dict[str, int], jobs: int) -> Jobs:
    """Let a worker do all jobs; what it took."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "TIDEGATE_PRIMARY_DSN": dsn,
        "TIDEGATE_SIGNING_KEYS_FILE": str(folder / "keys.json"),
        "TIDEGATE_LOG_FILE": str(folder / "worker.log"),
        "TIDEGATE_REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        **({"TIDEGATE_QUEUE_URL": queue_url} if queue_url else {}),
    }
    connection = await asyncpg.connect(dsn)
    worker = start_worker(environment, folder)
    try:
        while await connection.fetchval("SELECT count(*) FROM audit") == 0:
            if worker.poll() is not None:
                raise SystemExit("the worker has ended")
            await asyncio.sleep(_POLL_S)
        done_before = await connection.fetchval("SELECT count(*) FROM audit")
        pids = {"worker": worker.pid, **watched}
        before = {name: cpu_s(family(pid)) for name, pid in pids.items()}
        began = time.monotonic()
        while await connection.fetchval("SELECT count(*) FROM (SELECT FROM jobs LIMIT 1) one"):  # noqa: ASYNC110 - a process
            await asyncio.sleep(_POLL_S)
        took_s = time.monotonic() - began
        spent = {name: cpu_s(family(pid)) - before[name] for name, pid in pids.items()}
        done = jobs - done_before
    finally:
        worker.terminate()
        worker.wait()
        await connection.close()
    return Jobs(queue="queue" if queue_url else "table", done=done, seconds=took_s, cpu_s=spent)


def measure(name: str, *, users: int, jobs: int) -> Jobs:
    """Start all that a worker needs, give it *jobs* of *users* and let it do them.

    Args:
        name: "queue" or "table": where it takes them from.
        users: Whose jobs they are.
        jobs: How many; a multiple of *users*.
    """
    folder = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must be able to enter
    try:
        with EmbeddedPostgres(folder, durable=True) as postgres, EmbeddedNats(folder / "nats") as queue:
            dsn = postgres.dsn()
            asyncio.run(Runner(dsn).up())
            asyncio.run(put(dsn, users, jobs))
            watched = {"postgres": postgres.process.pid, "nats": queue.process.pid}
            return asyncio.run(measured(dsn, folder, queue.url if name == "queue" else "", watched, jobs))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def told(found: Jobs) -> str:
    """One line of what *found* says."""
    shares = ", ".join(f"{name} {seconds / found.done * 1e6:.0f}" for name, seconds in found.cpu_s.items())
    return (
        f"{found.per_s:8.0f} jobs/s by the clock, {found.per_s_of(2):8.0f} if both cores were ours;"
        f" us of CPU a job: {shares}"
    )


def main() -> int:
    """Measure with the queue and without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=60_000)
    words = parser.parse_args()
    for name in ("queue", "table"):
        print(f"{name}: {told(measure(name, users=words.users, jobs=words.jobs))}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
