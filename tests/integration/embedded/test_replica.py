"""A replica shows what its primary wrote, takes its place with every acknowledged row, and takes the old one in again."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.own_replicas import Replicated, acknowledge_only_with, ask, held_up, own_replicas, until_replayed
from tests.support.servers import frozen, kill
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.postgres_programs import EmbeddedPostgresError
from tidegate.embedded.replica import EmbeddedReplica

ACKNOWLEDGED_BEFORE_THE_KILL = 50


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def one() -> Iterator[Replicated]:
    """A primary and a replica that may be harmed, with a table on both."""
    with own_replicas(1) as replicated:
        ask(replicated.primary.dsn(), "CREATE TABLE kept (n int)")
        until_replayed(replicated.primary, *replicated.replicas)
        yield replicated


def write(server: EmbeddedPostgres, number: int = 1) -> None:
    ask(server.dsn(), f"INSERT INTO kept VALUES ({number})")


def rows(server: EmbeddedPostgres) -> list[int]:
    return list(ask(server.dsn(), "SELECT coalesce(array_agg(n ORDER BY n), '{}') FROM kept"))


def copy_of(server: EmbeddedPostgres) -> int:
    """Another number after the folder was copied anew."""
    return (server.folder / "cluster").stat().st_ino


class TestAReplica:
    def test_shows_what_its_primary_committed(self, one: Replicated) -> None:
        write(one.primary)
        until_replayed(one.primary, *one.replicas)
        assert rows(one.replicas[0]) == [1]

    def test_takes_no_writes(self, one: Replicated) -> None:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            write(one.replicas[0])

    def test_comes_back_under_its_dsn_after_a_kill_and_catches_up(self, one: Replicated) -> None:
        (replica,) = one.replicas
        dsn, copied = replica.dsn(), copy_of(replica)
        kill(replica)
        write(one.primary)
        replica.start()
        until_replayed(one.primary, replica)
        assert rows(replica) == [1]
        assert (replica.dsn(), copy_of(replica)) == (dsn, copied)

    def test_goes_on_alone_while_its_primary_is_away_and_finds_it_again(self, one: Replicated) -> None:
        (replica,) = one.replicas
        write(one.primary)
        until_replayed(one.primary, replica)
        kill(one.primary)
        kill(replica)
        replica.start()
        assert rows(replica) == [1]
        one.primary.start()
        write(one.primary, 2)
        until_replayed(one.primary, replica)
        assert rows(replica) == [1, 2]

    def test_shows_nothing_new_while_it_is_held_up_and_all_of_it_afterwards(self, one: Replicated) -> None:
        (replica,) = one.replicas
        with held_up(replica):
            write(one.primary)
            written = ask(one.primary.dsn(), "SELECT pg_current_wal_insert_lsn()::text")
            until(
                lambda: ask(replica.dsn(), f"SELECT pg_last_wal_receive_lsn() >= '{written}'") is True,
                "nothing is received",
            )
            assert rows(replica) == []
        until_replayed(one.primary, replica)
        assert rows(replica) == [1]

    def test_frozen_does_not_hold_its_primary_up_and_catches_up_afterwards(self, one: Replicated) -> None:
        (replica,) = one.replicas
        with frozen(replica):
            write(one.primary)
        until_replayed(one.primary, replica)
        assert rows(replica) == [1]

    def test_that_is_away_for_too_long_is_given_up_by_its_primary_and_copied_anew(self, folder: Path) -> None:
        """Else one that is away for good fills the primary's disk."""
        primary = EmbeddedPostgres(folder / "primary", slot_wal_mib_max=32, durable=False)
        replica = EmbeddedReplica(folder / "replica", primary=primary, name="replica_1", durable=False)
        with primary, replica:
            ask(primary.dsn(), "CREATE TABLE kept (n int)")
            copied = copy_of(replica)
            kill(replica)
            write_segments(primary, 4)
            slot = "SELECT wal_status FROM pg_replication_slots"
            until(lambda: ask(primary.dsn(), slot) == "lost", "the primary keeps everything")
            replica.start()
            until_replayed(primary, replica)
            assert rows(replica) == [1] * 4
            assert copy_of(replica) != copied

    def test_that_is_called_back_too_late_is_copied_anew(self, one: Replicated, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody dropped its slot, and the primary threw away what it needs."""
        monkeypatch.setattr("tidegate.embedded.replica._STREAMS_WITHIN_S", 2.0)
        (replica,) = one.replicas
        copied = copy_of(replica)
        kill(replica)
        until(lambda: ask(one.primary.dsn(), "SELECT active FROM pg_replication_slots") is False, "its slot is in use")
        ask(one.primary.dsn(), "SELECT pg_drop_replication_slot('replica_1')")
        write_segments(one.primary, 4)
        replica.start()
        until_replayed(one.primary, replica)
        assert rows(replica) == [1] * 4
        assert copy_of(replica) != copied

    def test_cannot_be_made_while_nobody_leads(self, one: Replicated, folder: Path) -> None:
        kill(one.primary)
        with pytest.raises(EmbeddedPostgresError, match="replica_2 cannot be made a replica while nobody leads"):
            EmbeddedReplica(folder, primary=one.primary, name="replica_2").start()

    @pytest.mark.parametrize("name", ["", "Replica", "a-b", "a'b", "1a", "a" * 64])
    def test_bears_a_name_that_its_slot_can_have(self, folder: Path, name: str) -> None:
        with pytest.raises(ValueError, match="no name for a replication slot"):
            EmbeddedReplica(folder, primary=EmbeddedPostgres(folder), name=name)


def write_segments(primary: EmbeddedPostgres, count: int) -> None:
    """Write a row into each of *count* segments of 16 MiB, and throw away those that nobody has reserved."""
    for _ in range(count):
        write(primary)
        ask(primary.dsn(), "SELECT pg_switch_wal()::text")
        ask(primary.dsn(), "CHECKPOINT")
        ask(primary.dsn(), "CHECKPOINT")


class TestPromoted:
    def test_it_takes_writes(self, one: Replicated) -> None:
        (replica,) = one.replicas
        kill(one.primary)
        replica.promote()
        write(replica)
        assert rows(replica) == [1]
        assert replica.primary is None
        assert ask(replica.dsn(), "SHOW max_slot_wal_keep_size") == "1GB"  # of those that will follow it

    def test_it_leads_again_after_a_kill(self, one: Replicated) -> None:
        (replica,) = one.replicas
        kill(one.primary)
        replica.promote()
        kill(replica)
        replica.start()
        write(replica)
        assert rows(replica) == [1]

    def test_it_has_every_row_that_was_acknowledged_with_it_before_its_primary_was_killed(self, one: Replicated) -> None:
        (replica,) = one.replicas
        acknowledge_only_with(one.primary, replica.name)
        acknowledged = asyncio.run(write_until_killed(one.primary))
        assert len(acknowledged) >= ACKNOWLEDGED_BEFORE_THE_KILL
        replica.promote()
        assert set(acknowledged) <= set(rows(replica))

    def test_it_waits_for_nobody_though_its_primary_did(self, one: Replicated, folder: Path) -> None:
        """It would wait for itself, for ever."""
        acknowledge_only_with(one.primary, "replica_2")
        with EmbeddedReplica(folder, primary=one.primary, name="replica_2", durable=False) as replica:
            kill(one.primary)
            replica.promote()
            assert ask(replica.dsn(), "SHOW synchronous_standby_names") == ""
            write(replica)

    def test_it_keeps_what_it_received_while_it_was_held_up(self, one: Replicated) -> None:
        (replica,) = one.replicas
        acknowledge_only_with(one.primary, replica.name)
        replica.pause_replay()
        write(one.primary)
        kill(one.primary)
        replica.promote()
        assert rows(replica) == [1]

    def test_another_follows_it(self) -> None:
        with own_replicas(2) as replicated:
            promoted, other = replicated.replicas
            ask(replicated.primary.dsn(), "CREATE TABLE kept (n int)")
            until_replayed(replicated.primary, promoted, other)
            kill(replicated.primary)
            promoted.promote()
            copied = copy_of(other)
            other.follow(promoted)
            write(promoted)
            until_replayed(promoted, other)
            assert rows(other) == [1]
            assert copy_of(other) == copied

    def test_another_that_had_received_more_is_copied_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else it waits for ever for the rest of what nobody has any more."""
        monkeypatch.setattr("tidegate.embedded.replica._STREAMS_WITHIN_S", 2.0)
        with own_replicas(2) as replicated:
            promoted, ahead = replicated.replicas
            ask(replicated.primary.dsn(), "CREATE TABLE kept (n int)")
            until_replayed(replicated.primary, promoted, ahead)
            with frozen(promoted):
                write(replicated.primary, 2)
                until_replayed(replicated.primary, ahead)
                kill(replicated.primary)
            promoted.promote()
            write(promoted, 3)
            copied = copy_of(ahead)
            ahead.follow(promoted)
            until_replayed(promoted, ahead)
            assert rows(ahead) == rows(promoted)
            assert (copy_of(ahead) == copied) is (2 in rows(promoted))


async def write_until_killed(primary: EmbeddedPostgres) -> list[int]:
    """Write numbers on several connections, kill *primary* among them, and tell which were acknowledged."""
    acknowledged: list[int] = []

    async def write_numbers(first: int) -> None:
        # InternalClientError: what the driver makes of a server that dies between two messages.
        dying = (asyncpg.PostgresConnectionError, ConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)
        with contextlib.suppress(*dying):
            connection = await asyncpg.connect(primary.dsn())
            for number in range(first, first + 1_000_000):
                await connection.execute("INSERT INTO kept VALUES ($1)", number)
                acknowledged.append(number)
                if len(acknowledged) == ACKNOWLEDGED_BEFORE_THE_KILL:
                    kill(primary)

    await asyncio.gather(*(write_numbers(writer * 1_000_000) for writer in range(8)))
    return acknowledged


@pytest.mark.full
class TestTheOldPrimary:
    def test_comes_back_by_rewind_without_what_it_wrote_alone(self, one: Replicated) -> None:
        (replica,) = one.replicas
        with frozen(replica):
            write(one.primary, 666)
            kill(one.primary)
        replica.promote()
        write(replica, 1)
        copied = copy_of(one.primary)
        with EmbeddedReplica(one.primary.folder, primary=replica, name="came_back", durable=False) as old:
            write(replica, 2)
            until_replayed(replica, old)
            assert rows(old) == rows(replica)
            assert copy_of(old) == copied
            assert ask(old.dsn(), "SELECT count(*) FROM pg_replication_slots") == 0  # they would keep its log for nobody

    def test_that_was_stopped_in_order_comes_back_too(self, one: Replicated) -> None:
        (replica,) = one.replicas
        write(one.primary, 1)
        one.primary.stop()
        replica.promote()
        write(replica, 2)
        with EmbeddedReplica(one.primary.folder, primary=replica, name="came_back", durable=False) as old:
            until_replayed(replica, old)
            assert rows(old) == [1, 2]

    def test_may_lead_again(self, one: Replicated) -> None:
        (replica,) = one.replicas
        kill(one.primary)
        replica.promote()
        with EmbeddedReplica(one.primary.folder, primary=replica, name="came_back", durable=False) as old:
            write(replica, 1)
            until_replayed(replica, old)
            replica.stop()
            old.promote()
            write(old, 2)
            replica.follow(old)
            until_replayed(old, replica)
            assert rows(replica) == [1, 2]

    def test_is_copied_anew_when_a_rewind_was_cut_short(self, one: Replicated) -> None:
        (replica,) = one.replicas
        kill(one.primary)
        replica.promote()
        copied = copy_of(one.primary)
        (one.primary.folder / "rewinding").touch()
        with EmbeddedReplica(one.primary.folder, primary=replica, name="came_back", durable=False) as old:
            assert copy_of(old) != copied
        assert not (one.primary.folder / "rewinding").exists()

    def test_does_not_follow_one_that_was_not_promoted(self, one: Replicated) -> None:
        """It would lose what it has, and nobody would lead."""
        (replica,) = one.replicas
        write(one.primary)
        kill(one.primary)
        with pytest.raises(EmbeddedPostgresError, match="while nobody leads; start its primary, or promote one"):
            EmbeddedReplica(one.primary.folder, primary=replica, name="came_back", durable=False).start()
        one.primary.start()
        assert rows(one.primary) == [1]

    def test_does_not_make_one_that_was_promoted_after_it_follow_it(self, one: Replicated) -> None:
        """What was written since would be lost."""
        (replica,) = one.replicas
        replica.promote()
        write(replica)
        with pytest.raises(EmbeddedPostgresError, match="led after the server it is to follow"):
            replica.follow(one.primary)
        with EmbeddedPostgres(replica.folder, durable=False) as unharmed:
            assert rows(unharmed) == [1]

    def test_is_never_put_in_the_place_of_another_database(self, one: Replicated, folder: Path) -> None:
        with EmbeddedPostgres(folder, durable=False) as another:
            ask(another.dsn(), "CREATE TABLE kept (n int)")
        with pytest.raises(EmbeddedPostgresError, match="holds another database than the primary"):
            EmbeddedReplica(folder, primary=one.primary, name="replica_2").start()
        with EmbeddedPostgres(folder, durable=False) as unharmed:
            assert rows(unharmed) == []


def test_a_copy_whose_place_was_never_taken_leaves_what_was_there(one: Replicated) -> None:
    """Killed between the two renames, with a primary that is gone since."""
    (replica,) = one.replicas
    replica.stop()
    (replica.folder / "cluster").rename(replica.folder / "cluster.aside")
    kill(one.primary)
    replica.start()
    assert rows(replica) == []
