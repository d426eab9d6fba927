"""Jobs through a real NATS and a real PostgreSQL, by real worker processes that are killed: each takes effect once."""

import asyncio
import multiprocessing.context
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from tests.integration.storage.worlds import bystander, opened_pool
from tests.support.nats_servers import frozen, kill, own_nats, wipe
from tests.support.waiting import GIVE_UP_AFTER_S
from tests.unit.worker.test_hands import Heard
from tidegate.domain.jobs import RECORDED, Claimed
from tidegate.embedded.nats import EmbeddedNats
from tidegate.ports.jobs import JobBatch
from tidegate.queue.address import read_addresses
from tidegate.queue.carrier import STREAM, JobCarrier
from tidegate.queue.connection import QueueConnection
from tidegate.queue.messages import Outgoing
from tidegate.storage.jobs import PostgresJobs
from tidegate.usecases.record_events import RecordEvents
from tidegate.worker.hands import Hands
from tidegate.worker.lanes import Lane
from tidegate.worker.loop import Rounds, WorkerLoop
from tidegate.worker.relay import Relay

PATIENCE_S = 3 * GIVE_UP_AFTER_S
"""A lease of 20 s and a pause of 15 s may lie between a fault and its end."""

POISON = UUID(int=13)

LANE = Lane(name="records", kinds=RECORDED, do=RecordEvents(welcomes=False), at_once_max=50, parallel=1, tries_max=3)


@pytest.fixture
def server() -> Iterator[EmbeddedNats]:
    with own_nats() as server:
        yield server


class Worker:
    """A whole worker in this process, and what it did."""

    def __init__(self, dsn: str, server: EmbeddedNats, *, lane: Lane = LANE) -> None:
        self._dsn, self._server, self._lane = dsn, server, lane
        self.heard = Heard()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        queue = QueueConnection(read_addresses(self._server.url), name="worker", timeout_s=0.5, ping_interval_s=0.2)
        async with opened_pool(self._dsn, size=3) as pool:
            jobs, carrier = PostgresJobs(pool), JobCarrier(queue, lane=self._lane.name)
            hands = Hands(self._lane, jobs=jobs, carrier=carrier, watcher=self.heard)
            relay = Relay(self._lane, jobs=jobs, carrier=carrier, watcher=self.heard)
            rounds = [Rounds(work=work, rest_s=0.02) for work in (hands.work, relay.work)]
            loop = WorkerLoop(rounds, on_failure=lambda _: None)
            queue.start()
            running = asyncio.create_task(loop.run())
            try:
                yield
            finally:
                loop.stop()
                async with asyncio.timeout(PATIENCE_S):
                    await running
                await queue.aclose()


async def put(outside: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    await outside.execute(
        f"INSERT INTO jobs (kind, user_id) SELECT 'password_changed', gen_random_uuid() FROM generate_series(1, {count})"
    )


async def until_recorded(outside: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    """Each once, for the second record of a job would be an error, and none is left."""
    async with asyncio.timeout(PATIENCE_S):
        found = (0, 0)
        while found != (count, 0):
            await asyncio.sleep(0.02)
            row = await outside.fetchrow("SELECT (SELECT count(*) FROM audit), (SELECT count(*) FROM jobs)")
            assert row is not None
            found = (row[0], row[1])
            assert found[0] <= count


def test_two_workers_share_the_jobs_and_each_takes_effect_once(database: str, server: EmbeddedNats) -> None:
    async def story() -> None:
        workers = [Worker(database, server), Worker(database, server)]
        async with bystander(database) as outside, workers[0].working(), workers[1].working():
            for _ in range(10):
                await put(outside, 60)
                await asyncio.sleep(0.01)
            await until_recorded(outside, 600)
        assert sum(worker.heard.done_jobs for worker in workers) == 600

    asyncio.run(story())


@pytest.mark.parametrize("fault", ["killed", "frozen", "wiped"])
def test_jobs_are_done_while_the_queue_is_away_and_through_it_again_when_it_is_back(
    database: str, server: EmbeddedNats, fault: str
) -> None:
    async def story() -> None:
        worker = Worker(database, server)
        async with bystander(database) as outside, worker.working():
            await put(outside, 100)
            await until_recorded(outside, 100)
            assert worker.heard.published
            if fault == "frozen":
                with frozen(server):
                    await put(outside, 100)
                    await until_recorded(outside, 200)
            elif fault == "killed":
                kill(server)
                await put(outside, 100)
                await until_recorded(outside, 200)
                server.start()
            else:
                wipe(server)
                await put(outside, 100)
            published = worker.heard.published
            async with asyncio.timeout(PATIENCE_S):
                while worker.heard.published == published:
                    await put(outside, 1)
                    await asyncio.sleep(0.05)
            put_in_all = await outside.fetchval("SELECT last_value FROM jobs_job_id_seq")
            await until_recorded(outside, put_in_all)

    asyncio.run(story())


def test_jobs_are_done_while_the_queue_is_full_and_through_it_again_when_it_is_not(
    database: str, server: EmbeddedNats
) -> None:
    """It answers all questions, and says no to every message: who only waits for what it delivers waits for ever."""

    async def story() -> None:
        worker = Worker(database, server)
        queue = QueueConnection(read_addresses(server.url), name="tests", timeout_s=5)
        queue.start()
        async with bystander(database) as outside:
            async with asyncio.timeout(GIVE_UP_AFTER_S):
                await queue.until_up()
            size = {"subjects": ["tidegate.jobs.>"], "retention": "workqueue", "discard": "new"}
            await queue.ensure_stream(STREAM, {**size, "max_msgs": 5})
            async with worker.working():
                await put(outside, 100)
                await until_recorded(outside, 100)
                published = worker.heard.published
                assert published == 0
                await queue.ensure_stream(STREAM, {**size, "max_msgs": -1})
                async with asyncio.timeout(PATIENCE_S):
                    while worker.heard.published == published:
                        await put(outside, 1)
                        await asyncio.sleep(0.05)
        await queue.aclose()

    asyncio.run(story())


def test_what_is_delivered_twice_and_backwards_takes_effect_once(database: str, server: EmbeddedNats) -> None:
    async def story() -> None:
        worker = Worker(database, server)
        queue = QueueConnection(read_addresses(server.url), name="tests", timeout_s=5)
        queue.start()
        async with bystander(database) as outside:
            async with asyncio.timeout(GIVE_UP_AFTER_S):
                await queue.until_up()
            await put(outside, 50)
            ids = [row[0] for row in await outside.fetch("SELECT job_id FROM jobs ORDER BY job_id DESC")]
            assert await JobCarrier(queue, lane="records").publish([Claimed(job, 0, 0.0) for job in ids])
            doubles = [Outgoing("tidegate.jobs.records", b"%d" % job) for job in ids]
            payloads = (b"", b"x", b"999999", b"9" * 19, b"9" * 5_000)
            garbage = [Outgoing("tidegate.jobs.records", payload) for payload in payloads]
            await queue.publish_all([*doubles, *garbage, *doubles])
            async with worker.working():
                await until_recorded(outside, 50)
                async with asyncio.timeout(PATIENCE_S):
                    left = 1
                    while left:
                        left = await queue.unacknowledged(STREAM, "records")
            assert worker.heard.done_jobs == 50
        await queue.aclose()

    asyncio.run(story())


def test_a_failed_job_comes_again_through_the_queue_and_holds_up_no_other(database: str, server: EmbeddedNats) -> None:
    async def story() -> None:
        async with bystander(database) as outside:
            # Already written down: what records it again breaks a rule of the database, as a bug would.
            await put(outside, 30)
            await outside.execute(
                "INSERT INTO audit SELECT job_id, created_at, kind, user_id FROM jobs ORDER BY job_id OFFSET 10 LIMIT 1"
            )
            worker = Worker(database, server)
            async with worker.working():
                async with asyncio.timeout(PATIENCE_S):
                    dead: list[asyncpg.Record] = []
                    while not dead:
                        await asyncio.sleep(0.02)
                        dead = await outside.fetch("SELECT job_id, tries, error FROM dead_jobs")
                await until_recorded(outside, 30)
            assert [tuple(row) for row in dead] == [(11, 3, "UniqueViolated")]
            assert worker.heard.done_jobs == 29

    asyncio.run(story())


@contextmanager
def process(database: str, server: EmbeddedNats, folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """`tidegate worker`, killed at the end."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "TIDEGATE_PRIMARY_DSN": database,
        "TIDEGATE_QUEUE_URL": server.url,
        "TIDEGATE_SIGNING_KEYS_FILE": str(folder / "keys.json"),
        "TIDEGATE_REFRESH_MAC_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "TIDEGATE_LOG_FILE": str(folder / f"{name}.log"),
    }
    started = subprocess.Popen([sys.executable, "-m", "tidegate", "worker"], env=environment, cwd=folder)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_workers_that_are_killed_or_stopped_in_the_middle_lose_and_double_nothing(
    database: str, server: EmbeddedNats, tmp_path: Path
) -> None:
    """kill -9 falls where it may: before an effect, between it and its acknowledgement, between claim and publishing."""

    async def story() -> None:
        async with bystander(database) as outside:
            await put(outside, 6_000)
            for number in range(4):
                with process(database, server, tmp_path, f"worker-{number}") as worker:
                    before = await outside.fetchval("SELECT count(*) FROM audit")
                    async with asyncio.timeout(PATIENCE_S):
                        while await outside.fetchval("SELECT count(*) FROM audit") == before:  # noqa: ASYNC110 - a process
                            await asyncio.sleep(0.001)
                    worker.send_signal(signal.SIGKILL if number % 2 else signal.SIGSTOP)
                    await put(outside, 600)
            with process(database, server, tmp_path, "last"):
                await until_recorded(outside, 8_400)

    asyncio.run(story())


@pytest.mark.parametrize("queue", ["is_away", pytest.param("is_there", marks=pytest.mark.full)])
def test_a_job_that_kills_its_workers_is_dead_in_the_end_and_all_others_are_done(
    database: str, server: EmbeddedNats, queue: str
) -> None:
    """As one that takes all memory: the process is gone in the middle of its transaction, and tells nobody."""

    async def fall(batch: JobBatch) -> None:
        await RecordEvents(welcomes=False)(batch)
        if any(job.user_id == POISON for job in batch.jobs):
            os.kill(os.getpid(), signal.SIGKILL)

    lane = Lane(name="records", kinds=RECORDED, do=fall, at_once_max=50, parallel=1, tries_max=3)

    def work() -> None:
        async def live() -> None:
            async with Worker(database, server, lane=lane).working():
                await asyncio.Event().wait()

        asyncio.run(live())

    async def story() -> None:
        deaths = 0
        if queue == "is_away":
            kill(server)
        async with bystander(database) as outside, asyncio.timeout(PATIENCE_S):
            await put(outside, 70)
            await outside.execute("INSERT INTO jobs (kind, user_id) VALUES ('password_changed', $1)", POISON)
            await put(outside, 70)
            while not await outside.fetchval("SELECT count(*) FROM dead_jobs"):
                with forked(work) as worker:
                    while worker.is_alive() and not await outside.fetchval("SELECT count(*) FROM dead_jobs"):  # noqa: ASYNC110 - a process
                        await asyncio.sleep(0.02)
                    deaths += worker.exitcode == -signal.SIGKILL
            dead = await outside.fetch("SELECT job_id, tries, error FROM dead_jobs")
            assert [tuple(row) for row in dead] == [(71, 3, "Unfinished")]
            assert deaths == 1 + 3
            with forked(work):
                await until_recorded(outside, 140)
            assert await outside.fetchval("SELECT count(*) FROM job_batches") == 0

    asyncio.run(story())


@contextmanager
def forked(work: Callable[[], None]) -> Iterator[multiprocessing.context.ForkProcess]:
    """A process that does *work*, killed at the end."""
    started = multiprocessing.get_context("fork").Process(target=work)
    started.start()
    try:
        yield started
    finally:
        started.kill()
        started.join()


def test_a_job_that_the_database_always_cuts_off_is_dead_in_the_end_and_all_others_are_done(
    database: str, server: EmbeddedNats
) -> None:
    async def cut_off(batch: JobBatch) -> None:
        await RecordEvents(welcomes=False)(batch)
        if any(job.user_id == POISON for job in batch.jobs):
            async with bystander(database) as outside:
                await outside.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'tidegate' AND state = 'idle in transaction'"
                )

    lane = Lane(name="records", kinds=RECORDED, do=cut_off, at_once_max=50, parallel=1, tries_max=2)

    async def story() -> None:
        worker = Worker(database, server, lane=lane)
        async with bystander(database) as outside:
            await put(outside, 20)
            await outside.execute("INSERT INTO jobs (kind, user_id) VALUES ('password_changed', $1)", POISON)
            await put(outside, 20)
            async with worker.working():
                await until_recorded(outside, 40)
            dead = await outside.fetch("SELECT job_id, tries, error FROM dead_jobs")
            assert [tuple(row) for row in dead] == [(21, 2, "Unfinished")]

    asyncio.run(story())


def test_an_effect_whose_acknowledgement_was_lost_is_not_had_again(database: str, server: EmbeddedNats) -> None:
    """As after kill -9 between the commit and the acknowledgement: NATS delivers again, and the row is gone."""

    class Forgetful(JobCarrier):
        async def settle(self, jobs: object) -> None:
            del jobs

    async def story() -> None:
        queue = QueueConnection(read_addresses(server.url), name="tests", timeout_s=5)
        queue.start()
        async with bystander(database) as outside, opened_pool(database, size=2) as pool:
            async with asyncio.timeout(GIVE_UP_AFTER_S):
                await queue.until_up()
            await put(outside, 5)
            jobs, heard = PostgresJobs(pool), Heard()
            forgetful = Forgetful(queue, lane="records")
            assert await Relay(LANE, jobs=jobs, carrier=forgetful, watcher=heard).work() is False
            await Hands(LANE, jobs=jobs, carrier=forgetful, watcher=heard).work()
            assert (heard.done_jobs, await queue.unacknowledged(STREAM, "records")) == (5, 5)
            hands = Hands(LANE, jobs=jobs, carrier=JobCarrier(queue, lane="records"), watcher=heard)
            async with asyncio.timeout(PATIENCE_S):
                while await queue.unacknowledged(STREAM, "records"):
                    await hands.work()
            assert heard.done_jobs == 5
            await until_recorded(outside, 5)
        await queue.aclose()

    asyncio.run(story())
