"""The Tidegate under measurement: `tidegate up` with a data folder of its own, and 100,000 users in it."""

import asyncio
import os
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
from bench.dialect import PASSWORD, TIDEGATE
from bench.ground import CannotMeasureError, Ground, Service, free_port, running
from bench.processes import Tree, child_named
from dotenv import dotenv_values

from tidegate.config import PREFIX, declared, variables
from tidegate.passwords.notations.argon2 import hash_argon2id
from tidegate.passwords.profiles import DEFAULT_PROFILE

OURS: Final = "tidegate"

_OUT_OF_REACH: Final = {
    f"{PREFIX}{name}": "10000000" for name in ("THROTTLE_ADDRESS_FAILURES", "THROTTLE_ADDRESS_REGISTRATIONS")
}
"""Everybody in a benchmark comes from one address: what it does is counted as ever, but its limit never comes."""

_HASHES: Final = 256
"""Two hashes of one salt read the same blocks at the same time, out of the same places of the cache: no two users do."""

_COPY: Final = """\
INSERT INTO users (userid, username, email, phone_number, password, full_name, birth_date, discount)
SELECT gen_random_uuid(), 'user' || name, 'user' || name || '@example.com', '+1555' || name,
       ($1::text[])[1 + number % $3], 'Load User ' || number,
       date '1970-01-01' + (number % 15000)::int, '{}'
FROM generate_series(1, $2::bigint) AS number, LATERAL (SELECT lpad(number::text, 7, '0') AS name) AS names"""


@contextmanager
def started(folder: Path, *, users: int) -> Iterator[tuple[Service, Ground]]:
    """Run `tidegate up` in *folder*, with its settings from the environment; it and its users are gone at the end.

    It is started twice: once to be filled, and then as a node starts that has its users already. One user registers, as
    people do; the others get copies of `_HASHES` hashes of the same password, which takes a second instead of a quarter of
    an hour.

    Raises:
        CannotMeasureError: It does not become ready, or nobody can register.
    """
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must be able to enter
    with _up(folder) as (port, _):
        _register(port, "first")
        stored = asyncio.run(_stored(_dsn(folder)))
        asyncio.run(fill(_dsn(folder), users))
    with _up(folder) as (port, pid):
        postgres = child_named(pid, "postgres")
        if postgres is None:
            raise CannotMeasureError("tidegate up runs no PostgreSQL of its own.")
        ground = Ground(dsn=_dsn(folder), postgres=Tree(postgres), users=users, stored=stored, folder=folder)
        yield Service(name=OURS, port=port, tree=Tree(pid, (postgres,)), dialect=TIDEGATE), ground


def given_settings() -> dict[str, str]:
    """Return the settings that Tidegate gets, without what is secret and without paths of one machine."""
    told = {each.variable for each in declared() if not each.meaning.is_secret and not each.is_path}
    return {name: text for name, text in sorted(environment().items()) if name in told}


def environment() -> dict[str, str]:
    """Return what Tidegate is started with: what was given, and limits that a benchmark never reaches."""
    known = variables()
    return {name: text for name, text in _OUT_OF_REACH.items() if name in known} | dict(os.environ)


@contextmanager
def _up(folder: Path) -> Iterator[tuple[int, int]]:
    port = free_port()
    settings = environment() | {f"{PREFIX}METRICS_PORT": str(free_port())}
    words = [sys.executable, "-m", "tidegate", "up", "--port", str(port), "--data-dir", str(folder / "data")]
    ready = f"http://127.0.0.1:{port}/health/ready"
    with running(words, ready_url=ready, log=folder / "tidegate up.log", environment=settings) as process:
        yield port, process.pid


def _dsn(folder: Path) -> str:
    written = folder / "data" / "tidegate.env"
    dsn = dotenv_values(written).get("TIDEGATE_PRIMARY_DSN")
    if not dsn:
        raise CannotMeasureError(f"{written} names no TIDEGATE_PRIMARY_DSN.")
    return dsn


def _register(port: int, username: str) -> None:
    body = msgspec.json.encode({"username": username, "password": PASSWORD})
    request = urllib.request.Request(f"http://127.0.0.1:{port}/register", body, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except OSError as error:
        raise CannotMeasureError(f"Nobody can register: {error}.") from error


async def fill(dsn: str, users: int) -> None:
    """Make *users*, numbered from 1, who all have the password of the `dialect`."""
    with ThreadPoolExecutor() as hashing:
        copied = list(hashing.map(lambda _: hash_argon2id(PASSWORD.encode(), DEFAULT_PROFILE), range(_HASHES)))
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_COPY, copied, users, _HASHES)
        await connection.execute("VACUUM (ANALYZE) users")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _stored(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        stored: str = await connection.fetchval("SELECT password FROM users WHERE username = 'first'")
    finally:
        await connection.close()
    return stored
