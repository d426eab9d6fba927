"""Asks all parts of a running cluster at once how they are, on a thread of its own: one that hangs holds up nobody."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import asyncpg

from tidegate.cluster.figures import Counted, Pace, pace, read_metrics

_ANSWER_S_MAX: Final = 0.8
"""Longer than any part takes that is well; less than the pause between two rounds."""

_ROUND_S_MAX: Final = 2.0
_INTERVAL_S: Final = 1.0
_METRICS_BYTES_MAX: Final = 8_000_000

_APPLICATION_NAME: Final = "tidegate-cluster"
"""In pg_stat_activity."""

# Both in recovery, where replicas are, and out of it, where the primary is: of each what it has of the log.
_WHERE_IT_STANDS: Final = """
SELECT pg_is_in_recovery() AS is_replica,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0')::bigint AS wal,
       CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE FALSE END AS is_replay_paused,
       (SELECT count(*) FROM (SELECT FROM jobs LIMIT 100000) AS counted) AS jobs
"""

_Row: TypeAlias = "asyncpg.Record"
_Connection: TypeAlias = "asyncpg.Connection[_Row]"


_FAILURES: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class NotDoneError(Exception):
    """A server did not do what it was told; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one PostgreSQL server is.

    Attributes:
        is_replica: Whether it follows another one.
        wal: How far its log goes, or how far a replica has applied it, in bytes.
        is_replay_paused: Whether it was told to apply nothing for now.
        jobs: Rows in the table of jobs, as far as they are counted.
    """

    is_replica: bool
    wal: int
    is_replay_paused: bool
    jobs: int


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of questions brought. Who did not answer is missing.

    Attributes:
        nodes: By name.
        servers: The PostgreSQL servers, by name.
        applied: How far each replica had applied the primary's log when it last answered, by name.
    """

    nodes: Mapping[str, Pace] = field(default_factory=dict)
    servers: Mapping[str, Standing] = field(default_factory=dict)
    applied: Mapping[str, int] = field(default_factory=dict)


class Watcher:
    """Knows how the parts were a moment ago."""

    def __init__(
        self, *, metrics_ports: Mapping[str, int], dsns: Mapping[str, str], on_round: Callable[[Round], None] | None
    ) -> None:
        """Nothing is asked before `start`.

        Args:
            metrics_ports: Where each node answers /metrics on loopback, by name.
            dsns: Of the PostgreSQL servers, by name, past the lines that can be cut.
            on_round: Called on the watcher's thread after each round, once a second; None: only `fresh` makes rounds.
        """
        self._metrics_ports = metrics_ports
        self._dsns = dsns
        self._on_round = on_round
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._connections: dict[str, _Connection] = {}
        self._counted: dict[str, tuple[float, Counted]] = {}
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.last = Round()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask nobody any more; gives up waiting for a terminal that is held up."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_ROUND_S_MAX)

    def fresh(self) -> Round:
        """How the parts are now, or were a moment ago where that cannot be had in time. For other threads."""
        if self._on_round is None:
            self._wait_for(self._round())
        return self.last

    def execute(self, name: str, statement: str) -> None:
        """Run *statement* on the PostgreSQL server *name*. For other threads.

        Raises:
            NotDoneError: It does not answer, or refuses.
        """
        try:
            asyncio.run_coroutine_threadsafe(self._execute(name, statement), self._loop).result(_ROUND_S_MAX)
        except _FAILURES as error:
            raise NotDoneError(str(error) or "it does not answer") from error

    def _wait_for(self, asking: Coroutine[Any, Any, None]) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(asking, self._loop)
        with contextlib.suppress(TimeoutError):
            future.result(_ROUND_S_MAX)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._watch())
        finally:
            self._loop.close()

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            pause_s = None
            if self._on_round is not None:
                began = time.monotonic()
                await self._round()
                self._on_round(self.last)
                pause_s = max(0.0, began + _INTERVAL_S - time.monotonic())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
        for connection in self._connections.values():
            connection.terminate()

    async def _round(self) -> None:
        async with asyncio.TaskGroup() as asking:
            nodes = {name: asking.create_task(self._ask_node(name)) for name in self._metrics_ports}
            servers = {name: asking.create_task(self._ask_server(name)) for name in self._dsns}
        answered = {name: standing for name, task in servers.items() if (standing := task.result()) is not None}
        self.last = Round(
            {name: found for name, task in nodes.items() if (found := task.result()) is not None},
            answered,
            {**self.last.applied, **{name: standing.wal for name, standing in answered.items() if standing.is_replica}},
        )

    async def _ask_node(self, name: str) -> Pace | None:
        try:
            async with asyncio.timeout(_ANSWER_S_MAX):
                text = await _read_metrics(self._metrics_ports[name])
        except (OSError, TimeoutError, EOFError):
            self._counted.pop(name, None)
            return None
        now, counted = time.monotonic(), read_metrics(text)
        then, before = self._counted.get(name, (now - _INTERVAL_S, counted))
        self._counted[name] = now, counted
        return pace(before, counted, max(0.001, now - then))

    async def _ask_server(self, name: str) -> Standing | None:
        try:
            connection = await self._connection(name)
            row = await connection.fetchrow(_WHERE_IT_STANDS, timeout=_ANSWER_S_MAX)
        except _FAILURES:
            broken = self._connections.pop(name, None)
            if broken is not None:
                broken.terminate()
            return None
        if row is None:
            return None
        return Standing(
            is_replica=row["is_replica"], wal=row["wal"], is_replay_paused=row["is_replay_paused"], jobs=row["jobs"]
        )

    async def _execute(self, name: str, statement: str) -> None:
        connection = await self._connect(name)  # the other one may be busy
        try:
            await connection.execute(statement, timeout=_ANSWER_S_MAX)
        finally:
            connection.terminate()

    async def _connection(self, name: str) -> _Connection:
        connection = self._connections.get(name)
        if connection is None or connection.is_closed():
            connection = self._connections[name] = await self._connect(name)
        return connection

    async def _connect(self, name: str) -> _Connection:
        return await asyncpg.connect(
            self._dsns[name], timeout=_ANSWER_S_MAX, server_settings={"application_name": _APPLICATION_NAME}
        )


async def _read_metrics(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = await reader.read(_METRICS_BYTES_MAX)
        while more := await reader.read(_METRICS_BYTES_MAX):
            answer += more
    finally:
        writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode(errors="replace")
