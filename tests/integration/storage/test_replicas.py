"""Real replicas: what is read there is proven to be late by no more than may be, and a sick one is left alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import NamedTuple
from uuid import uuid4

import asyncpg
import pytest

from tests.contract.nearby import NearbyContract
from tests.contract.users import new_user
from tests.integration.storage.worlds import opened_pool
from tests.support.databases import make_migrated_database
from tests.support.own_replicas import Replicated, held_up, held_up_unnoticed, own_replica_of, own_replicas
from tests.support.servers import frozen, kill, own_server
from tests.support.tables import rows, value
from tests.support.waiting import until_so
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.users import IdentifierKind, LoginIdentifier, NewUser, StoredCredentials
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.replica import EmbeddedReplica
from tidegate.storage.failures import ReplicaBehind, StatementFailed
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.replica_pools import START, Position, ReplicaPool
from tidegate.storage.replica_users import ReadOutcome, Replica, ReplicaUsers
from tidegate.storage.replica_watch import Ailment, ReplicaWatch
from tidegate.storage.statements import statements
from tidegate.storage.users import PostgresUsers

FLUSHED = "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint"
REPLAYED = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint"
ADA = LoginIdentifier(IdentifierKind.USERNAME, "ada")


class Cluster(NamedTuple):
    """A primary with one database of ours, and its replicas."""

    primary: EmbeddedPostgres
    replicas: list[EmbeddedReplica]
    name: str

    @property
    def dsn(self) -> str:
        return self.primary.dsn(self.name)

    def replica_dsn(self, number: int = 0) -> str:
        return self.replicas[number].dsn(self.name)


@pytest.fixture(scope="module")
def servers() -> Iterator[Replicated]:
    """Nobody ends these; who promotes or kills one takes one of their own."""
    with own_replicas(2) as servers:
        yield servers


@pytest.fixture
def cluster(servers: Replicated) -> Cluster:
    found = Cluster(servers.primary, servers.replicas, make_migrated_database(servers.primary))
    for replica in servers.replicas:
        asyncio.run(caught_up(servers.primary, replica))
    return found


async def caught_up(primary: EmbeddedPostgres, replica: EmbeddedPostgres) -> None:
    """Until *replica* has replayed what *primary* has flushed by now."""
    theirs = await asyncpg.connect(primary.dsn())
    ours = await asyncpg.connect(replica.dsn())
    try:
        flushed = await theirs.fetchval(FLUSHED)
        async with asyncio.timeout(30):
            while await ours.fetchval(REPLAYED) < flushed:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.005)
    finally:
        await theirs.close()
        await ours.close()


def pool_of(dsn: str, *, size: int = 2) -> ReplicaPool:
    return ReplicaPool(dsn=dsn, size=size, acquire_timeout_s=0.3, statement_timeout_s=0.3, connect_timeout_s=1.0)


@asynccontextmanager
async def opened_replica(dsn: str) -> AsyncIterator[ReplicaPool]:
    pool = pool_of(dsn)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.aclose()


class _Blind:
    """Takes every replica for well."""

    is_well = True
    must_have_seen = START


class Watched:
    """What an API process has of its replicas."""

    def __init__(self, users: PostgresUsers, watches: list[ReplicaWatch], pools: list[ReplicaPool]) -> None:
        self.primary_users = users
        self.watches = watches
        self.pools = pools
        self.reads: list[ReadOutcome] = []
        self.replicas = [Replica(pool, watch) for pool, watch in zip(pools, watches, strict=True)]
        self.users = ReplicaUsers(self.replicas, primary=users, on_read=self.reads.append)

    def be_blind(self) -> None:
        """Read from replicas however late they are, as if nobody watched them."""
        self.replicas[:] = [Replica(pool, _Blind()) for pool in self.pools]
        self.users = ReplicaUsers(self.replicas, primary=self.primary_users, on_read=self.reads.append)

    async def all_well(self) -> None:
        await until_so(lambda: all(replica.is_well for replica in self.replicas), "a replica is not well")

    async def until_out(self, number: int, ailment: Ailment) -> None:
        await until_so(
            lambda: not self.replicas[number].is_well and self.watches[number].ailment is ailment,
            f"replica {number} is not found {ailment}",
        )


@asynccontextmanager
async def watched(primary_dsn: str, *replica_dsns: str, lag_s_max: float = 0.5) -> AsyncIterator[Watched]:
    """Replicas that are watched; *lag_s_max* is generous on a busy machine."""
    one = PrimaryPool(dsn=primary_dsn, size=1, acquire_timeout_s=0.3, statement_timeout_s=0.3, connect_timeout_s=1.0)
    one.open_later()
    looking = [pool_of(dsn, size=1) for dsn in replica_dsns]
    pools = [pool_of(dsn) for dsn in replica_dsns]
    for pool in (*looking, *pools):
        pool.open_later()
    watches = [
        ReplicaWatch(replica=pool, primary=one, lag_s_max=lag_s_max, on_change=lambda ailment: None) for pool in looking
    ]
    running = [asyncio.create_task(watch.run()) for watch in watches]
    try:
        async with opened_pool(primary_dsn) as primary:
            yield Watched(PostgresUsers(primary), watches, pools)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await one.aclose()
        for pool in (*looking, *pools):
            await pool.aclose()


class _Writing:
    """Adds users on the primary, and finds them nearby."""

    def __init__(self, world: Watched) -> None:
        self._world = world

    async def find_nearby(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        return await self._world.users.find_nearby(identifier)

    async def add(self, user: NewUser) -> None:
        await self._world.primary_users.add(user)


class TestReplicaUsers(NearbyContract):
    @pytest.fixture(autouse=True)
    def _cluster(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[_Writing]:
        async with watched(self.cluster.dsn, self.cluster.replica_dsn(0), self.cluster.replica_dsn(1)) as world:
            await world.all_well()
            yield _Writing(world)


class TestReplicaUsersWhoseReplayStandsStillUnnoticed(TestReplicaUsers):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[_Writing]:
        first, second = self.cluster.replicas
        with held_up(first), held_up(second):
            async with self._blind() as writing:
                yield writing

    @asynccontextmanager
    async def _blind(self) -> AsyncIterator[_Writing]:
        async with watched(self.cluster.dsn, self.cluster.replica_dsn(0), self.cluster.replica_dsn(1)) as world:
            world.be_blind()
            yield _Writing(world)
            assert set(world.reads) == {ReadOutcome.NOBODY}


def test_nothing_can_be_written_through_a_pool_of_a_replica(cluster: Cluster) -> None:
    """Neither by its type, which has no transaction and no statement without a position, nor by PostgreSQL."""

    async def write() -> None:
        async with opened_replica(cluster.replica_dsn()) as pool:
            assert not hasattr(pool, "transaction")
            assert not hasattr(pool, "fetchrow")
            with pytest.raises(DatabaseUnavailable):
                await pool.fetch("rehash_user", uuid4(), "old", "new", seen=START)

    asyncio.run(write())


def test_a_primary_is_no_replica(cluster: Cluster) -> None:
    async def connect() -> None:
        pool = pool_of(cluster.dsn)
        with pytest.raises(DatabaseUnavailable):
            await pool.open()

    asyncio.run(connect())


def test_a_statement_that_the_replica_lacks_the_tables_for_is_told_as_such(cluster: Cluster) -> None:
    """It lags behind a migration: then the primary is asked."""

    async def ask() -> None:
        async with opened_replica(cluster.replica_dsn()) as pool:
            with pytest.raises(StatementFailed):
                await pool.fetch("no_such_table", seen=START)

    with pytest.MonkeyPatch.context() as patch:
        lacking = {**statements(), "no_such_table": "SELECT 1 FROM no_such_table"}
        patch.setattr("tidegate.storage.connections.statements", lambda: lacking)
        asyncio.run(ask())


class TestFreshnessIsProven:
    def test_what_was_flushed_before_is_seen_or_the_read_refused(self, cluster: Cluster) -> None:
        """Replay stands still at moments of chance; whatever is read is at least what had to be seen."""

        async def race() -> None:
            async with opened_replica(cluster.replica_dsn()) as pool, opened_pool(cluster.dsn) as primary:
                users = PostgresUsers(primary)
                user = new_user(username="ada", password_hash="0")
                await users.add(user)
                fresh = refused = 0
                for number in range(200):
                    await users.rehash(user.user_id, old=str(number), new=str(number + 1))
                    # After the commit was answered: a position taken before it would be too old.
                    (row,) = await primary.fetch("primary_position")
                    try:
                        (found,) = await pool.fetch("find_users_by_username", ["ada"], seen=Position(row["flushed"]))
                    except ReplicaBehind:
                        refused += 1
                    else:
                        fresh += 1
                        assert found["password"] == str(number + 1)
                    if number % 20 == 10:
                        await asyncio.to_thread(cluster.replicas[0].pause_replay)
                    if number % 20 == 15:
                        await asyncio.to_thread(cluster.replicas[0].resume_replay)
                        await caught_up(cluster.primary, cluster.replicas[0])
                assert fresh
                assert refused

        asyncio.run(race())

    def test_what_is_proven_holds_for_one_connection_only(self, cluster: Cluster) -> None:
        async def ask() -> None:
            async with opened_replica(cluster.replica_dsn()) as pool:
                flushed = Position(await asyncio.to_thread(value, cluster.dsn, FLUSHED))
                await caught_up(cluster.primary, cluster.replicas[0])
                await pool.fetch("replayed", seen=flushed)
                asked, idle = pool._free[-1], pool._free[0]
                assert asked._replayed >= flushed
                assert idle._replayed < flushed

        asyncio.run(ask())

    def test_a_position_compared_by_the_reading_statement_itself_would_prove_nothing(self, cluster: Cluster) -> None:
        """Why the position is read before: PostgreSQL takes a statement's snapshot first, and calls functions later."""
        query = """
            WITH waited AS MATERIALIZED (SELECT pg_sleep(1)),
                 seen AS MATERIALIZED (SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn AS replayed FROM waited)
            SELECT replayed, (SELECT count(*) FROM users) AS users FROM seen
        """

        async def read() -> None:
            replica = await asyncpg.connect(cluster.replica_dsn())
            async with opened_pool(cluster.dsn) as primary:
                reading = asyncio.create_task(replica.fetchrow(query))
                await until_reading(cluster)
                await PostgresUsers(primary).add(new_user(username="ada"))
                (row,) = await primary.fetch("primary_position")
                found = await reading
            await replica.close()
            assert found is not None
            assert found["replayed"] >= row["flushed"], "the statement would have been taken for fresh"
            assert found["users"] == 0, "and yet it has not seen what was flushed by then"

        asyncio.run(read())

    def test_a_replica_that_was_promoted_proves_nothing_more(self, cluster: Cluster) -> None:
        async def promote_meanwhile(own: EmbeddedReplica) -> None:
            async with opened_replica(own.dsn(cluster.name)) as pool:
                await pool.fetch("replayed", seen=START)
                await asyncio.to_thread(own.promote)
                await asyncio.to_thread(rows, own.dsn(), "CREATE TABLE a_long_way_ahead AS SELECT generate_series(1, 9999)")
                await asyncio.to_thread(rows, cluster.dsn, "CREATE TABLE not_there ()")
                with pytest.raises(ReplicaBehind):
                    await pool.fetch("replayed", seen=Position(await asyncio.to_thread(value, cluster.dsn, FLUSHED)))
                with pytest.raises(DatabaseUnavailable):  # it would take writes, but not by us
                    await pool.fetch("rehash_user", uuid4(), "old", "new", seen=START)

        with own_replica_of(cluster.primary, "parting") as own:
            asyncio.run(promote_meanwhile(own))


@asynccontextmanager
async def beside(manager: AbstractContextManager[None]) -> AsyncIterator[None]:
    """Enter and leave *manager* where it holds nobody up."""
    await asyncio.to_thread(manager.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


async def until_reading(cluster: Cluster) -> None:
    """Until somebody sleeps in a statement on the first replica."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(value, cluster.replicas[0].dsn(), query):
            pass


class TestASickReplicaIsLeftAlone:
    def test_one_whose_replay_is_paused(self, cluster: Cluster) -> None:
        async def pause() -> None:
            async with watched(cluster.dsn, cluster.replica_dsn(0), cluster.replica_dsn(1)) as world:
                await world.all_well()
                await asyncio.to_thread(cluster.replicas[0].pause_replay)
                await world.until_out(0, Ailment.PAUSED)
                assert world.replicas[1].is_well
                await asyncio.to_thread(cluster.replicas[0].resume_replay)
                await world.all_well()

        asyncio.run(pause())

    def test_one_that_stands_still(self, cluster: Cluster) -> None:
        """Those who ask it meanwhile are answered by the primary."""

        async def stop() -> None:
            async with watched(cluster.dsn, cluster.replica_dsn(0)) as world:
                await world.primary_users.add(new_user(username="ada"))
                await caught_up(cluster.primary, cluster.replicas[0])
                await world.all_well()
                with frozen(cluster.replicas[0]):
                    assert await world.users.find_nearby(ADA) is not None
                    assert world.reads == [ReadOutcome.FAILED]
                    await world.until_out(0, Ailment.AWAY)
                    assert await world.users.find_nearby(ADA) is not None
                    assert world.reads[1:] == [ReadOutcome.NONE_WELL]
                await world.all_well()
                assert await world.users.find_nearby(ADA) is not None
                assert world.reads[2:] == [ReadOutcome.REPLICA]

        asyncio.run(stop())

    def test_one_that_was_killed_at_once_and_until_it_is_back(self, cluster: Cluster) -> None:
        async def kill_it(own: EmbeddedPostgres) -> None:
            async with watched(cluster.dsn, own.dsn(cluster.name)) as world:
                await world.primary_users.add(new_user(username="ada"))
                await caught_up(cluster.primary, own)
                await world.all_well()
                kill(own)
                for _ in range(20):
                    assert await world.users.find_nearby(ADA) is not None
                await world.until_out(0, Ailment.AWAY)
                own.start()
                await world.all_well()

        with own_replica_of(cluster.primary, "dying") as own:
            asyncio.run(kill_it(own))

    def test_one_that_was_promoted_and_all_that_follow_it(self, cluster: Cluster) -> None:
        async def promote_it(own: EmbeddedReplica, follower: EmbeddedReplica) -> None:
            async with watched(cluster.dsn, own.dsn(cluster.name), follower.dsn(cluster.name)) as world:
                await world.all_well()
                await asyncio.to_thread(own.promote)
                await world.until_out(0, Ailment.PROMOTED)
                follower.follow(own)
                await world.until_out(1, Ailment.OTHER_TIMELINE)
                # What is written there from now on is nobody's truth.
                await asyncio.to_thread(
                    rows,
                    own.dsn(cluster.name),
                    "INSERT INTO users (userid, username, password) VALUES (gen_random_uuid(), 'ada', 'theirs')",
                )
                await caught_up(own, follower)
                assert await world.users.find_nearby(ADA) is None

        with own_replica_of(cluster.primary, "own") as own, own_replica_of(cluster.primary, "follower") as follower:
            asyncio.run(promote_it(own, follower))

    def test_one_that_follows_who_is_no_more_the_primary(self, cluster: Cluster) -> None:
        """The new primary is our primary now; who still follows the old one is of another timeline, until it follows."""

        async def fail_over(own: EmbeddedReplica) -> None:
            await asyncio.to_thread(own.promote)
            async with watched(own.dsn(cluster.name), cluster.replica_dsn(0)) as world:
                await world.until_out(0, Ailment.OTHER_TIMELINE)

        with own_replica_of(cluster.primary, "leading") as own:
            asyncio.run(fail_over(own))

    def test_one_of_another_database(self, cluster: Cluster) -> None:
        async def confuse(other: EmbeddedPostgres) -> None:
            async with watched(other.dsn(), cluster.replica_dsn(0)) as world:
                await world.until_out(0, Ailment.OTHER_SYSTEM)

        with own_server() as other:
            asyncio.run(confuse(other))

    def test_one_that_is_late(self, cluster: Cluster) -> None:
        """It says that it replays, and puts it off."""

        async def hold_up() -> None:
            async with watched(cluster.dsn, cluster.replica_dsn(0)) as world:
                await world.all_well()
                async with beside(held_up_unnoticed(cluster.replicas[0])):
                    await world.primary_users.add(new_user(username="ada"))
                    await world.until_out(0, Ailment.LATE)
                    assert world.watches[0].lag_bytes > 0
                    assert world.watches[0].lag_s > 0
                    assert await world.users.find_nearby(ADA) is not None
                await world.all_well()

        asyncio.run(hold_up())

    def test_one_while_there_is_no_primary_to_compare_it_with(self, cluster: Cluster) -> None:
        async def lose(primary: EmbeddedPostgres, own: EmbeddedPostgres) -> None:
            async with watched(primary.dsn(), own.dsn()) as world:
                await world.all_well()
                kill(primary)
                await world.until_out(0, Ailment.PRIMARY_AWAY)
                with pytest.raises(DatabaseUnavailable):
                    await world.users.find_nearby(ADA)
                primary.start()
                await world.all_well()

        with own_replicas(1) as servers:
            asyncio.run(lose(servers.primary, servers.replicas[0]))

    def test_one_where_our_role_may_not_see_what_it_receives(self, cluster: Cluster) -> None:
        async def look() -> None:
            seen_by_few = cluster.replica_dsn(0).replace("//tidegate@", "//looker@")
            async with watched(cluster.dsn, seen_by_few) as world:
                await world.until_out(0, Ailment.NOT_FED)
                await asyncio.to_thread(rows, cluster.dsn, "GRANT pg_read_all_stats TO looker")
                await world.all_well()

        rows(cluster.dsn, "CREATE ROLE looker LOGIN")
        try:
            asyncio.run(look())
        finally:
            rows(cluster.dsn, "DROP ROLE looker")
