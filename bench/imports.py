"""Measures `tidegate users import`: `python -m bench.imports` makes a file and imports it into a PostgreSQL of its own.

The file holds users with a username, an email, a phone number and a bcrypt hash each, in random order of their names, as a
table of somebody else's would come. CPU time is what counts on a machine that others use too: of the import, of its
processes, and of PostgreSQL, which syncs to disk as in production.
"""

import argparse
import base64
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tidegate.embedded.postgres import EmbeddedPostgres

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_POLL_S: Final = 0.2
_HASH: Final = "$2b$12$abcdefghijklmnopqrstuu2c1e4vZoCxDVRU9N6VCSSmNg4cQa1Ve"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def make_file(path: Path, users: int, *, seed: int) -> None:
    """Write *users* into *path*."""
    lots = random.Random(seed)
    numbers = list(range(users))
    lots.shuffle(numbers)
    is_csv = path.suffix == ".csv"
    names = ("username", "email", "phone_number", "password_hash", "full_name", "birthdate", "last_login")
    with path.open("w", encoding="utf-8") as file:
        if is_csv:
            file.write(",".join(names) + "\n")
        for number in numbers:
            digest = "".join(lots.choices(_LETTERS, k=30))
            values = (
                f"user.{number}",
                f"Person{number}@mail{number % 997}.example.com",
                f"+4915{number:09d}",
                _HASH[:-30] + digest,
                f"Zoë Nº {number}",
                f"{1930 + number % 75}-{1 + number % 12:02d}-{1 + number % 28:02d}",
                f"2024-05-{1 + number % 28:02d}T10:00:00Z",
            )
            file.write(
                ",".join(values) + "\n"
                if is_csv
                else json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) + "\n"
            )


def cpu_s(pids: Sequence[int]) -> float:
    """CPU time of *pids* and of their children that were waited for."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15]) / _TICKS
    return total


def family(parent: int) -> list[int]:
    """*parent* and its children."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8")
    return [parent, *map(int, children.split())]


def measure(server: EmbeddedPostgres, file: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Import *file* and return seconds."""
    before = cpu_s(family(server.process.pid))
    began = os.times()
    began_s = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "tidegate", "users", "import", str(file)], env=dict(environment))
    # A backend's time is its parent's once it has ended and was waited for.
    code = process.wait()
    wall_s = time.monotonic() - began_s
    ended = os.times()
    time.sleep(_POLL_S)
    if code:
        raise SystemExit(code)
    program = ended.children_user + ended.children_system - began.children_user - began.children_system
    return {"wall_s": wall_s, "program_cpu_s": program, "postgres_cpu_s": cpu_s(family(server.process.pid)) - before}


def main() -> None:
    """Print what was found, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.imports", description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--format", choices=["csv", "jsonl"], default="csv")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
    folder.chmod(0o711)
    try:
        file = folder / f"users.{given.format}"
        make_file(file, given.users, seed=given.seed)
        with EmbeddedPostgres(folder / "postgres") as server:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")} | {
                "TIDEGATE_PRIMARY_DSN": server.dsn("postgres"),
                "TIDEGATE_REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="),
                "TIDEGATE_SIGNING_KEYS_FILE": str(folder / "none.json"),
            }
            subprocess.run(
                [sys.executable, "-m", "tidegate", "migrate", "up"], env=environment, check=True, stdout=subprocess.DEVNULL
            )
            found = measure(server, file, environment)
        found |= {
            "users": given.users,
            "file_mb": round(file.stat().st_size / 1e6, 1),
            "users_per_s": round(given.users / found["wall_s"]),
            "cores_used": round((found["program_cpu_s"] + found["postgres_cpu_s"]) / found["wall_s"], 2),
            "load": os.getloadavg()[0],
        }
        print(json.dumps({"seed": given.seed, "format": given.format, **found}, indent=1))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
