"""The faults: each does one thing to the real processes or to a line between them, holds it, and heals it.

A fault never waits for anything that it may itself have made impossible. What each is about is its docstring; which nodes
cannot answer because of it is its `targets` (see `history.FaultSpan`).
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg

from tests.faults import balancer_faults, doomed_jobs, feed_faults, outbox_faults, queue_faults, storage_faults
from tests.faults.history import BALANCER
from tests.faults.parts import Parts
from tests.faults.proxy import Line, Weather
from tests.faults.stages import Stage
from tests.support import servers, valkeys
from tests.support.lines import standing_still

T = TypeVar("T")

_BOUND_S: Final = 20.0

_LOCK_THE_LATEST: Final = (
    "SELECT FROM users WHERE userid IN (SELECT user_id FROM sessions ORDER BY created_at DESC LIMIT 60)"
    " ORDER BY userid FOR UPDATE"
)


@dataclass(frozen=True)
class Disturbance:
    """One kind of fault.

    Attributes:
        act: Disturbs, holds and heals.
        hits_node: Whether the drawn node cannot answer, or cannot be heard, meanwhile.
        hits_all: Whether that is so of all nodes, one after the other.
        hits_balancer: Whether nobody can be reached meanwhile but past the balancer, by which all clients then come.
        needs_replicas: Whether somebody has to follow the primary.
        needs_small_disk: Whether the primary must lie where little room is, which only root can arrange.
    """

    act: Callable[[Stage], None]
    hits_node: bool = False
    hits_all: bool = False
    hits_balancer: bool = False
    needs_replicas: bool = False
    needs_small_disk: bool = False

    def targets(self, stage: Stage) -> frozenset[str]:
        """The names of the nodes that it hits."""
        if self.hits_all:
            return frozenset(node.name for node in stage.parts.nodes)
        if self.hits_balancer:
            return frozenset([BALANCER])
        return frozenset([stage.node.name]) if self.hits_node else frozenset()


def api_process_killed(stage: Stage) -> None:
    """kill -9 of one of the node's API processes; its parent starts another."""
    os.kill(stage.chance.choice(stage.node.api_processes()), signal.SIGKILL)
    stage.hold()


def api_process_stopped(stage: Stage) -> None:
    """SIGSTOP of one API process: what the kernel has given to it waits."""
    with standing_still([stage.chance.choice(stage.node.api_processes())]):
        stage.hold()


def node_killed(stage: Stage) -> None:
    """kill -9 of all of a node at once; somebody starts it again."""
    stage.node.api.kill()
    stage.hold()
    stage.node.api.start()
    stage.node.await_ready()


def node_stopped(stage: Stage) -> None:
    """SIGSTOP of all of a node: its connections stand, and it believes afterwards that no time has passed."""
    with standing_still(stage.node.api.pids()):
        stage.hold()


def worker_killed(stage: Stage) -> None:
    """kill -9 of one of the queue workers."""
    worker = stage.chance.choice(stage.parts.workers)
    worker.kill()
    stage.hold()
    worker.start()


def worker_stopped(stage: Stage) -> None:
    """SIGSTOP of one of the queue workers, perhaps within a transaction."""
    with standing_still(stage.chance.choice(stage.parts.workers).pids()):
        stage.hold()


def worker_killed_before_its_effect(stage: Stage) -> None:
    """kill -9 of all queue workers when one holds jobs and waits for the rows that they are to change."""
    # Two connections: within a transaction one always sees the same activity.
    with _connected(stage.parts) as primary, _connected(stage.parts) as watching:
        primary.run(primary.connection.execute("BEGIN"))
        primary.run(primary.connection.execute("SELECT FROM users ORDER BY userid FOR NO KEY UPDATE"))
        _until(lambda: watching.run(_workers_wait(watching.connection)))
        for worker in stage.parts.workers:
            worker.kill()
        primary.run(primary.connection.execute("COMMIT"))
    for worker in stage.parts.workers:
        worker.start()


def primary_killed(stage: Stage) -> None:
    """kill -9 of the primary; it recovers from its log."""
    stage.parts.primaries.kill_leader()
    stage.hold()
    stage.parts.primaries.restart_leader()


def replica_killed(stage: Stage) -> None:
    """kill -9 of one of two replicas; it follows again."""
    replica = stage.chance.choice(stage.parts.primaries.replicas)
    servers.kill(replica)
    stage.hold()
    replica.start()


def replica_frozen(stage: Stage) -> None:
    """SIGSTOP of one of two replicas: it neither receives nor answers."""
    with servers.frozen(stage.chance.choice(stage.parts.primaries.replicas)):
        stage.hold()


def replicas_frozen(stage: Stage) -> None:
    """SIGSTOP of all replicas: no commit is safe, so none may be acknowledged."""
    with contextlib.ExitStack() as stack:
        for replica in stage.parts.primaries.replicas:
            stack.enter_context(servers.frozen(replica))
        stage.hold()


def replay_paused(stage: Stage) -> None:
    """One of two replicas receives everything and shows nothing of it."""
    replica = stage.chance.choice(stage.parts.primaries.replicas)
    replica.pause_replay()
    stage.hold()
    replica.resume_replay()


def failover(stage: Stage) -> None:
    """kill -9 of the primary, promotion of a replica, and the return of the old primary as a replica."""
    primaries = stage.parts.primaries
    primaries.kill_leader()
    stage.hold()
    former = primaries.fail_over()
    for node in stage.parts.nodes:
        node.database.reset()
    primaries.take_back(former)


def primary_frozen(stage: Stage) -> None:
    """SIGSTOP of all of the primary: connections stand, nothing is answered."""
    with servers.frozen(stage.parts.primaries.leader):
        stage.hold()


def primary_cut_off(stage: Stage) -> None:
    """The node's connections to the primary are reset, and it gets no others."""
    with stage.node.database.weather(Weather(refuses=True)):
        stage.hold()


def primary_deaf(stage: Stage) -> None:
    """Nothing of what the node sends reaches the primary."""
    with stage.node.database.weather(Weather(drops_requests=True)):
        stage.hold()


def primary_dumb(stage: Stage) -> None:
    """The primary does what it is asked, and the node hears nothing of it."""
    with stage.node.database.weather(Weather(drops_answers=True)):
        stage.hold()


def primary_slow(stage: Stage) -> None:
    """Every way between the node and the primary takes 0.1 s longer."""
    with stage.node.database.weather(Weather(delay_s=0.1)):
        stage.hold()


def commits_unheard(stage: Stage) -> None:
    """The primary's answers are cut off some bytes after they begin, on one connection after the other."""
    bytes_ = stage.chance.choice((0, 1, 7, 40))
    with stage.node.database.weather(Weather(cuts_answer_after=bytes_, times=6)):
        stage.hold()


def answers_cut(stage: Stage) -> None:
    """The node does what it is asked, and its clients get nothing, or a part of an answer, and a reset."""
    bytes_ = stage.chance.choice((0, 0, 5, 60, 250))
    with _all_fronts(stage.parts, Weather(cuts_answer_after=bytes_, times=40)):
        stage.hold()


def answers_withheld(stage: Stage) -> None:
    """The node's answers reach nobody."""
    with stage.node.front.weather(Weather(drops_answers=True)):
        stage.hold()


def user_locked(stage: Stage) -> None:
    """Somebody else's transaction holds the rows of those who registered last."""
    with _connected(stage.parts) as primary:
        primary.run(primary.connection.execute("BEGIN"))
        primary.run(primary.connection.execute(_LOCK_THE_LATEST))
        stage.hold()
        primary.run(primary.connection.execute("COMMIT"))


def connections_exhausted(stage: Stage) -> None:
    """Others hold all connections that the primary allows, after its sessions with the nodes were ended."""
    taken: list[asyncpg.Connection] = []
    with asyncio.Runner() as runner:
        operator = runner.run(asyncpg.connect(stage.parts.dsn))
        runner.run(
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE starts_with(application_name, 'tidegate') AND pid <> pg_backend_pid()"
            )
        )
        try:
            with contextlib.suppress(asyncpg.PostgresError, OSError):
                while True:
                    taken.append(runner.run(asyncpg.connect(stage.parts.dsn, timeout=5)))
            stage.hold()
        finally:
            for connection in [*taken, operator]:
                runner.run(connection.close())


def cache_frozen(stage: Stage) -> None:
    """SIGSTOP of Valkey."""
    with valkeys.frozen(stage.parts.valkey):
        stage.hold()


def cache_killed(stage: Stage) -> None:
    """kill -9 of Valkey; it comes back empty, or with the dump of another time if there is one."""
    valkeys.kill(stage.parts.valkey)
    stage.hold()
    stage.parts.valkey.start()


def cache_emptied(stage: Stage) -> None:
    """FLUSHALL, again and again."""
    for _ in range(5):
        valkeys.flush(stage.parts.valkey)
        stage.chance.random()
    stage.hold()
    valkeys.flush(stage.parts.valkey)


def cache_from_an_old_dump(stage: Stage) -> None:
    """Valkey writes down what it knows, goes on for a while, is killed, and begins again with what it knew then."""
    assert valkeys.say(stage.parts.valkey, "SAVE").startswith(b"+OK")
    stage.hold()
    valkeys.kill(stage.parts.valkey)
    stage.parts.valkey.start()


def cache_cut_off(stage: Stage) -> None:
    """The node cannot reach Valkey; the other can."""
    with stage.node.cache.weather(Weather(refuses=True)):
        stage.hold()


def clock_off(stage: Stage) -> None:
    """The node's clock is wrong by an hour, from its start to its end."""
    stage.node.api.terminate()
    stage.node.api.start(clock_off_s=stage.chance.choice((-3600, 3600)))
    stage.node.await_ready()
    stage.hold()
    stage.node.api.terminate()
    stage.node.api.start()
    stage.node.await_ready()


def roll_out(stage: Stage) -> None:
    """SIGTERM of one node after the other, each is started again before the next goes."""
    for node in stage.parts.nodes:
        assert node.api.terminate() == 0
        node.api.start()
        node.await_ready()


DISTURBANCES: Final[dict[str, Disturbance]] = {
    "API process killed": Disturbance(api_process_killed, hits_node=True),
    "API process stopped": Disturbance(api_process_stopped, hits_node=True),
    "node killed": Disturbance(node_killed, hits_node=True),
    "node stopped": Disturbance(node_stopped, hits_node=True),
    "balancer killed": Disturbance(balancer_faults.balancer_killed, hits_balancer=True),
    "balancer stopped": Disturbance(balancer_faults.balancer_stopped, hits_balancer=True),
    "worker killed": Disturbance(worker_killed),
    "worker stopped": Disturbance(worker_stopped),
    "worker killed before its effect": Disturbance(worker_killed_before_its_effect),
    "primary killed": Disturbance(primary_killed),
    "data folder full": Disturbance(storage_faults.data_folder_full, needs_small_disk=True),
    "replica killed": Disturbance(replica_killed, needs_replicas=True),
    "replica frozen": Disturbance(replica_frozen, needs_replicas=True),
    "replicas frozen": Disturbance(replicas_frozen, needs_replicas=True),
    "replay paused": Disturbance(replay_paused, needs_replicas=True),
    "failover": Disturbance(failover, needs_replicas=True),
    "primary frozen": Disturbance(primary_frozen),
    "primary cut off": Disturbance(primary_cut_off),
    "primary deaf": Disturbance(primary_deaf),
    "primary dumb": Disturbance(primary_dumb),
    "primary slow": Disturbance(primary_slow),
    "commits unheard": Disturbance(commits_unheard),
    "answers cut": Disturbance(answers_cut),
    "answers withheld": Disturbance(answers_withheld, hits_node=True),
    "late commits": Disturbance(outbox_faults.late_commits),
    "user locked": Disturbance(user_locked),
    "connections exhausted": Disturbance(connections_exhausted),
    "cache frozen": Disturbance(cache_frozen),
    "cache killed": Disturbance(cache_killed),
    "cache emptied": Disturbance(cache_emptied),
    "cache from an old dump": Disturbance(cache_from_an_old_dump),
    "cache cut off": Disturbance(cache_cut_off),
    "queue killed": Disturbance(queue_faults.queue_killed),
    "queue frozen": Disturbance(queue_faults.queue_frozen),
    "queue wiped": Disturbance(queue_faults.queue_wiped),
    "queue cut off": Disturbance(queue_faults.queue_cut_off),
    "queue deaf": Disturbance(queue_faults.queue_deaf),
    "queue poisoned": Disturbance(queue_faults.queue_poisoned),
    "queue replayed": Disturbance(queue_faults.queue_replayed),
    "job doomed": Disturbance(doomed_jobs.job_doomed),
    "node's queue cut off": Disturbance(feed_faults.queue_cut_off_from_a_node),
    "node's LISTEN cut off": Disturbance(feed_faults.listening_cut_off),
    "node's feed cut off": Disturbance(feed_faults.feed_cut_off),
    "clock off": Disturbance(clock_off, hits_node=True),
    "roll-out": Disturbance(roll_out, hits_all=True),
}
"""All faults, by the names that plans and reports use."""


def possible() -> list[str]:
    """The names of those that whoever we are can bring about."""
    return [name for name, each in DISTURBANCES.items() if os.geteuid() == 0 or not each.needs_small_disk]


@contextlib.contextmanager
def _all_fronts(parts: Parts, weather: Weather) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for node in parts.nodes:
            stack.enter_context(_weather_of(node.front, weather))
        yield


def _weather_of(line: Line, weather: Weather) -> AbstractContextManager[None]:
    return line.weather(Weather(cuts_answer_after=weather.cuts_answer_after, times=weather.times))


@dataclass
class _Primary:
    """A connection to the primary, past all lines, for code that is not asynchronous."""

    runner: asyncio.Runner
    connection: asyncpg.Connection

    def run(self, awaited: Awaitable[T]) -> T:
        async def run() -> T:
            return await awaited

        return self.runner.run(run())


@contextlib.contextmanager
def _connected(parts: Parts) -> Iterator[_Primary]:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(parts.dsn))
        try:
            yield _Primary(runner, connection)
        finally:
            runner.run(connection.close())


async def _workers_wait(connection: asyncpg.Connection) -> bool:
    """Whether the worker waits for a row that somebody holds."""
    found = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE '%SET last_login%' AND wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(found)


def _until(is_so: Callable[[], bool]) -> None:
    """Wait until *is_so*, within bounds; the fault is then what it can be."""
    give_up_at = time.monotonic() + _BOUND_S
    while not is_so() and time.monotonic() < give_up_at:
        time.sleep(0.02)
