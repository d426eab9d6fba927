"""While a node decides alone, nobody else can add a name that its filter does not have: promise P2, held by the database.

Seen to fail, each with its guard taken out: without the trigger; without lock 1 (the claim misses a writer in flight);
without lock 2 (the lease is renewed under a waiter's eyes); with ENABLE instead of ENABLE ALWAYS.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import pytest

from tests.contract.users import new_user
from tests.integration.existence.worlds import ADD, NOTE, LeaseWorld, begun, told
from tests.integration.storage.worlds import bystander, until
from tidegate.existence.keeper import LEASE_S
from tidegate.storage.existence import open_existence_database
from tidegate.storage.statements import statements

OTHERS_ADD: Final = {
    "insert": ADD,
    "insert of many": "INSERT INTO users (userid, username, password) SELECT gen_random_uuid(), $1 || n, 'x' "
    "FROM generate_series(1, 3) n",
    "update of a username": "UPDATE users SET username = $1 WHERE username = 'old'",
    "update of an email": "UPDATE users SET email = $1 || '@example.org' WHERE username = 'old'",
    "update of a phone number": "UPDATE users SET phone_number = '+49301' WHERE username = 'old' AND $1 <> ''",
    "merge": "MERGE INTO users USING (SELECT $1 AS name) AS new ON username = name WHEN NOT MATCHED THEN "
    "INSERT (userid, username, password) VALUES (gen_random_uuid(), name, 'x')",
    "upsert": "INSERT INTO users (userid, username, password) VALUES (gen_random_uuid(), $1, 'x') "
    "ON CONFLICT (username) DO UPDATE SET username = $1 || '2'",
}


@pytest.mark.parametrize("statement", OTHERS_ADD.values(), ids=list(OTHERS_ADD))
def test_whoever_else_adds_a_name_waits_until_the_lease_is_given_up(database: str, statement: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute(ADD, "old")
        await world.win()
        adding = begun(world.somebody.execute(statement, "ada"))
        await world.until_waiting(adding)
        assert not await world.renewed()
        await world.keeper.give_up(NOTE)
        await adding
        assert await world.keeper.lease() == 0
        assert not await world.keeper.win(NOTE)

    told(database, story)


def test_whoever_else_copies_names_in_waits_too(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.win()
        rows = [("00000000-0000-4000-8000-000000000001", "ada", "x")]
        adding = begun(
            world.somebody.copy_records_to_table("users", records=rows, columns=["userid", "username", "password"])
        )
        await world.until_waiting(adding)
        await world.keeper.give_up(NOTE)
        await adding

    told(database, story)


def test_nobody_waits_for_ever_for_a_keeper_that_is_dead(database: str) -> None:
    """But for as long as its node may believe in the lease. No upper bound is asserted: machines may be busy."""

    async def story(world: LeaseWorld) -> None:
        await world.win()
        began = time.monotonic()
        await world.somebody.execute(ADD, "ada")
        assert time.monotonic() - began > LEASE_S
        assert await world.keeper.lease() == 0

    told(database, story)


def test_two_who_come_at_once_both_wait(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.win()
        async with bystander(database) as other:
            adding = [begun(world.somebody.execute(ADD, "ada")), begun(other.execute(ADD, "bob"))]
            await world.until_waiting(*adding)
            assert not await world.renewed()
            await world.keeper.give_up(NOTE)
            await asyncio.gather(*adding)

    told(database, story)


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
def test_an_old_snapshot_does_not_hide_the_lease(
    database: str, isolation: Literal["repeatable_read", "serializable"]
) -> None:
    async def story(world: LeaseWorld) -> None:
        transaction = world.somebody.transaction(isolation=isolation)
        await transaction.start()
        assert await world.somebody.fetchval("SELECT count(*) FROM users") == 0
        await world.win()
        adding = begun(world.somebody.execute(ADD, "ada"))
        await world.until_waiting(adding)
        await world.keeper.give_up(NOTE)
        await adding
        await transaction.commit()

    told(database, story)


def test_a_session_that_fires_no_ordinary_triggers_fires_this_one(database: str) -> None:
    """Restores and replication set it."""

    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute("SET session_replication_role = replica")
        await world.win()
        adding = begun(world.somebody.execute(ADD, "ada"))
        await world.until_waiting(adding)
        await world.keeper.give_up(NOTE)
        await adding

    told(database, story)


def test_whoever_is_noted_in_the_filter_is_added_at_once_and_the_lease_stands(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        assert await world.keeper.hold()
        assert await world.keeper.claim(NOTE)
        await world.users.add(new_user(username="ada"), noted_in=NOTE)
        assert await world.keeper.win(NOTE)
        await world.users.add(new_user(username="bob"), noted_in=NOTE)
        assert await world.renewed()

    told(database, story)


def test_a_note_is_forgotten_with_its_statement(database: str) -> None:
    """The next one on the same connection may have none."""

    async def story(world: LeaseWorld) -> None:
        await world.win()
        for name in ("ada", "bob", "cleo"):
            await world.users.add(new_user(username=name), noted_in=NOTE)
        adding = begun(world.users.add(new_user(username="dora")))
        await world.until_waiting(adding)
        await world.keeper.give_up(NOTE)
        await adding

    told(database, story)


def test_a_note_is_forgotten_with_its_transaction(database: str) -> None:
    """Whatever the connection does next; a pooler may give it to anybody."""

    async def story(world: LeaseWorld) -> None:
        await world.win()
        values = ("00000000-0000-4000-8000-000000000001", "ada", None, None, "x", None, None, str(NOTE), None)
        await world.somebody.execute(statements()["add_user"], *values)
        adding = begun(world.somebody.execute(ADD, "bob"))
        await world.until_waiting(adding)
        await world.keeper.give_up(NOTE)
        await adding

    told(database, story)


def test_a_note_of_another_filter_counts_for_nothing(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.win()
        adding = begun(world.users.add(new_user(username="ada"), noted_in=NOTE + 1))
        await world.until_waiting(adding)
        await world.keeper.give_up(NOTE)
        await adding

    told(database, story)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET last_login = now()",
        "UPDATE users SET password = 'y'",
        "UPDATE users SET full_name = 'Ada', birth_date = '2000-01-01'",
        "DELETE FROM users",
    ],
)
def test_what_adds_no_name_leaves_the_lease_alone(database: str, statement: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute(ADD, "ada")
        await world.win()
        await world.somebody.execute(statement)
        assert await world.renewed()

    told(database, story)


def test_a_claim_ends_with_the_first_name_that_it_does_not_know(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        assert await world.keeper.claim(NOTE)
        await world.somebody.execute(ADD, "ada")  # nobody decides yet, so nobody waits
        assert await world.keeper.lease() == 0
        assert not await world.keeper.win(NOTE)

    told(database, story)


def test_a_transaction_that_takes_its_name_back_may_end_a_claim_but_never_the_truth(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        assert await world.keeper.claim(NOTE)
        transaction = world.somebody.transaction()
        await transaction.start()
        await world.somebody.execute(ADD, "ada")
        await transaction.rollback()
        assert await world.keeper.lease() == 0, "the sequence does not roll back"
        assert await world.names() == set()

    told(database, story)


@pytest.mark.parametrize("noted_in", [0, NOTE])
def test_a_claim_waits_for_those_who_are_adding_names(database: str, noted_in: int) -> None:
    """Else the scan that follows would miss them; also ours, who may have noted in a filter that is being replaced."""

    async def story(world: LeaseWorld) -> None:
        transaction = world.somebody.transaction()
        await transaction.start()
        await world.somebody.execute("SELECT set_config('tidegate.noted_in', $1, true)", str(noted_in))
        await world.somebody.execute(ADD, "ada")
        assert not await world.keeper.claim(NOTE)
        assert await world.keeper.lease() == 0
        await transaction.commit()
        assert await world.keeper.claim(NOTE)
        assert await world.names() == {b"ada"}

    told(database, story)


def test_the_lease_is_not_won_while_somebody_adds_a_name_that_is_not_noted(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        transaction = world.somebody.transaction()
        await transaction.start()
        assert await world.keeper.claim(NOTE)
        await world.somebody.execute(ADD, "ada")
        assert not await world.keeper.win(NOTE)
        await transaction.commit()
        assert not await world.keeper.win(NOTE)

    told(database, story)


def test_those_who_come_while_a_claim_waits_are_held_up_for_a_moment_only(database: str) -> None:
    """A transaction that somebody left open must not stop registrations."""

    async def story(world: LeaseWorld) -> None:
        transaction = world.somebody.transaction()
        await transaction.start()
        await world.somebody.execute(ADD, "ada")
        claiming = begun(_claimed_soon(world))

        async def is_queued() -> bool:
            return claiming.done() or await world.look("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0

        await until(is_queued)
        await world.users.add(new_user(username="bob"), noted_in=NOTE)
        assert not await claiming
        await transaction.rollback()

    told(database, story)


async def _claimed_soon(world: LeaseWorld) -> bool:
    """A tenth of a second is meant; on a machine as busy as may be it is not ten."""
    async with asyncio.timeout(5):
        return await world.keeper.claim(NOTE)


@pytest.mark.parametrize("moment", ["locked", "prepared"])
@pytest.mark.parametrize("step", ["claim", "win"])
def test_a_keeper_that_is_stopped_with_all_writers_waiting_is_cut_off(database: str, step: str, moment: str) -> None:
    """Really stopped: it answers no signal but SIGKILL. Without a bound of the server's, nobody could ever be added."""

    async def story(world: LeaseWorld) -> None:
        with stopped_keeper(database, step, moment):
            assert await world.look(_STOPPED_WRITERS) == 1
            async with asyncio.timeout(20):
                await world.users.add(new_user(username="ada"))
            assert await world.look(_STOPPED_WRITERS) == 0
        assert await world.keeper.hold()
        assert await world.names() == {b"ada"}

    told(database, story)


_STOPPED_WRITERS: Final = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND mode = 'ExclusiveLock' AND granted"
)


@contextmanager
def stopped_keeper(dsn: str, step: str, moment: str) -> Iterator[None]:
    """Another process that has stopped itself in the middle of *step*, when it had *moment*."""
    process = subprocess.Popen([sys.executable, "-m", "tests.integration.existence.claiming", dsn, step, moment])
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield
    finally:
        process.kill()
        process.wait()


def test_one_who_gives_up_waiting_leaves_the_lease_as_it_was(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.win()
        adding = begun(world.somebody.execute(ADD, "ada", timeout=None))
        await world.until_waiting(adding)
        async with bystander(database) as other:
            await other.execute("SELECT pg_cancel_backend($1)", world.somebody.get_server_pid())
        await asyncio.gather(adding, return_exceptions=True)
        assert await world.renewed()
        assert await world.names() == set()

    told(database, story)


def test_there_is_one_keeper_and_the_next_comes_with_the_end_of_its_connection(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        async with open_existence_database(dsn=database, connect_timeout_s=5.0) as other:
            assert await other.hold()
            assert await other.hold(), "it may ask again"
            assert not await world.keeper.hold()
        await until(world.keeper.hold)

    told(database, story)


def test_a_keeper_gives_up_only_its_own_lease(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.win()
        await world.keeper.give_up(NOTE + 1)
        assert await world.renewed()

    told(database, story)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users DISABLE TRIGGER users_fence_existence",
        "ALTER TABLE users ENABLE TRIGGER users_fence_existence",
        "DROP TRIGGER users_fence_existence ON users",
    ],
)
def test_without_the_trigger_nobody_decides_alone(database: str, statement: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.win()
        await world.somebody.execute(statement)
        assert not await world.renewed()
        assert not await world.keeper.claim(NOTE)

    told(database, story)


def test_where_a_subscription_fills_the_table_nobody_decides_alone(database: str) -> None:
    """The worker of a subscription fires no triggers of statements."""

    async def story(world: LeaseWorld) -> None:
        await world.somebody.execute(
            "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) VALUES (1, 'users'::regclass, 'r')"
        )
        assert not await world.keeper.claim(NOTE)

    told(database, story)


def test_the_lease_stands_when_the_keeper_changes(database: str) -> None:
    async def story(world: LeaseWorld) -> None:
        await world.win()
        async with bystander(database) as other:
            await other.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 3")
        async with open_existence_database(dsn=database, connect_timeout_s=5.0) as next_keeper:
            await until(next_keeper.hold)
            assert await next_keeper.lease() == NOTE
            assert await next_keeper.renew(NOTE, timeout_s=10.0)

    told(database, story)


def test_a_role_that_may_only_add_users_can(database: str) -> None:
    """The trigger's function has the rights that it needs."""

    async def story(world: LeaseWorld) -> None:
        role = f"clerk_{world.somebody.get_server_pid()}"
        await world.somebody.execute(f"CREATE ROLE {role}; GRANT INSERT ON users TO {role}; SET ROLE {role}")
        await world.somebody.execute(ADD, "ada")
        # A table of the clerk's own does not stand before the lease.
        await world.somebody.execute("CREATE TEMPORARY TABLE existence_lease AS SELECT 0::bigint AS last_value")
        await world.win()
        adding = begun(world.somebody.execute(ADD, "bob"))
        await world.until_waiting(adding)
        await world.keeper.give_up(NOTE)
        await adding
        await world.somebody.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")

    told(database, story)
