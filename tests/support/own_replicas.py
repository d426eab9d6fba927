"""A primary of a test's own with replicas, each of which may be held up and promoted.

`tests.support.servers` kills and freezes them.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.replica import EmbeddedReplica


@dataclass(frozen=True)
class Replicated:
    """A primary and those that follow it.

    Attributes:
        primary: Who led at the start.
        replicas: Called replica_1, replica_2 ...
    """

    primary: EmbeddedPostgres
    replicas: list[EmbeddedReplica]


@contextlib.contextmanager
def own_replicas(count: int = 1) -> Iterator[Replicated]:
    """Start a primary and *count* replicas in folders of their own, which are gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must be able to enter
    try:
        with contextlib.ExitStack() as running:
            primary = running.enter_context(EmbeddedPostgres(folder / "primary", durable=False))
            replicas = [
                running.enter_context(EmbeddedReplica(folder / name, primary=primary, name=name, durable=False))
                for name in (f"replica_{number}" for number in range(1, count + 1))
            ]
            yield Replicated(primary, replicas)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def held_up(replica: EmbeddedReplica) -> Iterator[None]:
    """Let *replica* receive everything and show none of it, as behind a long read; it catches up at the end."""
    replica.pause_replay()
    try:
        yield
    finally:
        replica.resume_replay()


@contextlib.contextmanager
def own_replica_of(primary: EmbeddedPostgres, name: str) -> Iterator[EmbeddedReplica]:
    """One more replica, in a folder of its own, which may be promoted."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)
    try:
        with EmbeddedReplica(folder, primary=primary, name=name, durable=False) as replica:
            yield replica
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def held_up_unnoticed(replica: EmbeddedReplica) -> Iterator[None]:
    """As `held_up`, but *replica* says that it replays: it puts off what was committed since by an hour."""
    _put_off(replica, "1h")
    try:
        yield
    finally:
        _put_off(replica, "0")


def _put_off(replica: EmbeddedReplica, by: str) -> None:
    ask(replica.dsn(), f"ALTER SYSTEM SET recovery_min_apply_delay = '{by}'")
    ask(replica.dsn(), "SELECT pg_reload_conf()")
    until(lambda: ask(replica.dsn(), "SHOW recovery_min_apply_delay") == by, "the setting is not taken over")


def acknowledge_only_with(primary: EmbeddedPostgres, names: str) -> None:
    """Let commits on *primary* wait for *names*, in the words of `synchronous_standby_names`; empty: for nobody."""
    ask(primary.dsn(), f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    ask(primary.dsn(), "SELECT pg_reload_conf()")
    until(lambda: ask(primary.dsn(), "SHOW synchronous_standby_names") == names, "the setting is not taken over")


def until_replayed(primary: EmbeddedPostgres, *replicas: EmbeddedReplica) -> None:
    """Wait until *replicas* show all that *primary* has committed."""
    written = ask(primary.dsn(), "SELECT pg_current_wal_insert_lsn()::text")
    query = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
    until(lambda: all(ask(replica.dsn(), query) for replica in replicas), "a replica does not catch up")


def ask(dsn: str, query: str) -> Any:
    """The only value that *query* returns."""

    async def fetch() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(fetch())
