"""The faults of the disk: PostgreSQL has no room for data, then none for its log either, and nobody is told a lie."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

import asyncpg

from tests.faults.small_disks import SmallDisk
from tests.faults.stages import Stage
from tests.support import servers
from tests.support.tables import rows
from tidegate.embedded.postgres import EmbeddedPostgres

_LOOK_S: Final = 0.05
_SEGMENTS: Final = 24
"""Of 16 MB, more than the server may have kept for later: the next is one that it cannot make."""

_BOUND_S: Final = 10.0


def data_folder_full(stage: Stage) -> None:
    """No room on the primary's disk: first for rows, then for the log, of which the server dies; then there is room again.

    Who starts a server that has ended is what systemd or `tidegate up` is.
    """
    primaries = stage.parts.primaries
    disk, server = primaries.small_disk, primaries.on_small_disk
    assert disk is not None
    with asyncio.Runner() as runner:
        # While there is room: a new connection may need some.
        connection = runner.run(asyncpg.connect(server.dsn(stage.parts.database)))
        try:
            with _kept_full(disk):
                stage.hold()
                runner.run(_use_up_the_log(connection))
                stage.hold()
        finally:
            connection.terminate()
    _see_it_run(server, stage.parts.database)


def _see_it_run(server: EmbeddedPostgres, database: str) -> None:
    """Do as `tidegate up`: start *server* when it has ended, which it may be about to do, and end it when it is stuck.

    PostgreSQL 18.6 is stuck once in some ten times: its recovery dies for want of room the moment it begins.
    """
    while not _answers(server, database):
        if server.is_stuck():
            servers.kill(server)
        if server.process.poll() is not None:
            server.start()
        time.sleep(_LOOK_S)


def _answers(server: EmbeddedPostgres, database: str) -> bool:
    with contextlib.suppress(asyncpg.PostgresError, OSError):
        rows(server.dsn(database), "SELECT")
        return True
    return False


@contextlib.contextmanager
def _kept_full(disk: SmallDisk) -> Iterator[None]:
    """A server gives back what it needs no more, a log segment say."""
    ending = threading.Event()

    def keep_full() -> None:
        while not ending.is_set():
            disk.fill()
            ending.wait(_LOOK_S)

    filling = threading.Thread(target=keep_full, daemon=True)
    filling.start()
    try:
        yield
    finally:
        ending.set()
        filling.join()
        disk.give_back()


async def _use_up_the_log(connection: asyncpg.Connection) -> None:
    """Go on to another segment of the log until there is none; the one who needs it takes the server with them (PANIC)."""
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        async with asyncio.timeout(_BOUND_S):
            for _ in range(_SEGMENTS):
                await connection.execute("SELECT pg_logical_emit_message(true, 'faults', 'full')")
                await connection.execute("SELECT pg_switch_wal()")
