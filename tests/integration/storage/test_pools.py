"""The pool lends connections that are clean, waits for no longer than it may, and comes back by itself."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import tempfile
import time
import traceback
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.contract.sessions import add_user, open_session
from tests.contract.users import new_user
from tests.integration.storage.worlds import bystander, opened_pool, opened_world, until, until_waiting_or_done
from tidegate.domain.errors import DatabaseUnavailable, IdentifierTaken
from tidegate.domain.users import IdentifierKind, LoginIdentifier
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.storage.connections import Driver, PrimaryConnection, connect
from tidegate.storage.failures import StatementFailed
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.statements import statements
from tidegate.storage.users import PostgresUsers

CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidegate'"


def pool_of(dsn: str, *, size: int = 1, acquire_timeout_s: float = 10.0, waiting_max: int = 1024) -> PrimaryPool:
    return PrimaryPool(
        dsn=dsn,
        size=size,
        acquire_timeout_s=acquire_timeout_s,
        statement_timeout_s=10.0,
        connect_timeout_s=5.0,
        waiting_max=waiting_max,
    )


async def is_answered(pool: PrimaryPool) -> bool:
    try:
        await pool.ping()
    except DatabaseUnavailable:
        return False
    return True


def test_every_connection_is_open_from_the_start_and_none_is_left(database: str) -> None:
    async def look() -> None:
        async with bystander(database) as outside:
            async with opened_pool(database, size=5) as pool:
                assert await outside.fetchval(CONNECTIONS) == 5
                assert (pool.opened, pool.in_use, pool.waiting) == (5, 0, 0)
                await asyncio.gather(*(pool.ping() for _ in range(50)))
                assert await outside.fetchval(CONNECTIONS) == 5
                assert (pool.in_use, pool.waiting) == (0, 0)
            await until(lambda: _are_connected(outside, 0))

    asyncio.run(look())


def test_the_primary_tells_what_its_clock_shows_now(database: str) -> None:
    async def look() -> None:
        async with opened_pool(database, size=1) as pool:
            for _ in range(3):
                before = time.time()
                shown = await pool.time_s()
                assert before - 0.001 <= shown <= time.time() + 0.001  # one machine, one clock; it counts microseconds

    asyncio.run(look())


def test_who_takes_no_writes_is_not_asked_for_the_time(database: str) -> None:
    """One that was demoted under our connections answers everything else; its clock is not the new primary's."""

    async def look() -> None:
        async with opened_pool(database, size=1) as pool:
            with pytest.raises(DatabaseUnavailable):
                await pool.time_s()

    recovering = {"clock": statements()["clock"].replace("pg_is_in_recovery()", "true")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidegate.storage.connections.statements", lambda: {**statements(), **recovering})
        asyncio.run(look())


def test_a_statement_is_prepared_once_a_connection(database: str) -> None:
    async def look() -> None:
        async with opened_pool(database, size=1) as pool:
            users = PostgresUsers(pool)
            for _ in range(20):
                await users.credentials(uuid4())
            async with pool.transaction() as work:
                prepared = await work.fetch("prepared_for_this_test")
            assert sum("FROM users WHERE userid" in row["statement"] for row in prepared) == 1

    with pytest.MonkeyPatch.context() as patch:
        query = "SELECT statement FROM pg_prepared_statements"
        patch.setattr("tidegate.storage.connections.statements", lambda: {**statements(), "prepared_for_this_test": query})
        asyncio.run(look())


def test_nobody_reads_the_answer_to_the_question_of_another(database: str) -> None:
    """Calls are cancelled at random moments, hundreds of times; what comes back is always what was asked for."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)

    async def storm() -> None:
        async with opened_pool(database, size=3) as pool:
            users = PostgresUsers(pool)
            names = [f"user-{n}" for n in range(50)]
            for name in names:
                await users.add(new_user(username=name, password_hash=f"stored-{name}"))
            answered = 0

            async def ask(name: str) -> None:
                nonlocal answered
                found = await users.find(LoginIdentifier(IdentifierKind.USERNAME, name))
                assert found is not None
                assert found.stored_password == f"stored-{name}"
                answered += 1

            for _ in range(40):
                tasks = [asyncio.create_task(ask(chance.choice(names))) for _ in range(10)]
                for task in chance.sample(tasks, 5):
                    for _ in range(chance.randrange(8)):
                        await asyncio.sleep(0)
                    task.cancel()
                for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                    assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
            assert answered >= 200
            await until(lambda: is_answered(pool))
            assert pool.in_use == 0

    asyncio.run(storm())


def test_a_connection_on_which_a_call_was_cancelled_is_replaced(database: str) -> None:
    async def cancel() -> None:
        async with opened_world(database) as world, opened_pool(database, size=1) as pool, bystander(database) as other:
            session_id = await open_session(world, await add_user(world))
            backend = await _backend(pool)
            await other.execute("BEGIN")
            await other.fetch(statements()["revoke_session"], session_id, None, "session_revoked")
            waiting = asyncio.create_task(pool.fetchrow("revoke_session", session_id, None, "session_revoked"))
            await until_waiting_or_done(world, waiting)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await pool.fetchrow("is_primary") is not None
            assert await _backend(pool) != backend
            await other.execute("ROLLBACK")

    asyncio.run(cancel())


def test_a_transaction_is_all_or_nothing(database: str) -> None:
    async def try_both() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            with contextlib.suppress(KeyError):
                async with world.pool.transaction() as work:
                    await work.fetch("replace_password", bob, "changed")
                    raise KeyError
            stored = await world.users.credentials(bob)
            assert stored is not None
            assert stored.stored_password == "stored"
            async with world.pool.transaction() as work:
                await work.fetch("replace_password", bob, "changed")
            stored = await world.users.credentials(bob)
            assert stored is not None
            assert stored.stored_password == "changed"

    asyncio.run(try_both())


def test_a_transaction_that_is_cancelled_between_statements_is_rolled_back(database: str) -> None:
    async def cancel() -> None:
        async with opened_world(database) as world, opened_pool(database, size=1) as pool:
            bob = await add_user(world)
            reached = asyncio.Event()

            async def change() -> None:
                async with pool.transaction() as work:
                    await work.fetch("replace_password", bob, "changed")
                    reached.set()
                    await asyncio.Event().wait()

            changing = asyncio.create_task(change())
            await reached.wait()
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
            stored = await PostgresUsers(pool).credentials(bob)
            assert stored is not None
            assert stored.stored_password == "stored"

    asyncio.run(cancel())


def test_a_transaction_does_not_pass_over_a_failed_statement(database: str) -> None:
    """PostgreSQL would answer the COMMIT with ROLLBACK, and no error."""

    async def swallow() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)

            async def pass_over() -> None:
                async with world.pool.transaction() as work:
                    await work.fetch("replace_password", bob, "changed")
                    with pytest.raises(StatementFailed):
                        await work.fetch("replace_password", bob, "x" * 600)

            with pytest.raises(StatementFailed):
                await pass_over()
            await world.pool.ping()

    asyncio.run(swallow())


def test_a_call_waits_for_a_connection_and_then_for_no_longer_than_it_may(database: str) -> None:
    async def wait() -> None:
        pool = pool_of(database, acquire_timeout_s=0.05)
        await pool.open()
        async with pool.transaction():
            with pytest.raises(DatabaseUnavailable):
                await pool.ping()
            assert pool.waiting == 0
            waiting = asyncio.create_task(pool.ping())
            await asyncio.sleep(0)
            assert pool.waiting == 1
        await waiting
        await pool.aclose()

    asyncio.run(wait())


def test_no_more_calls_wait_than_may(database: str) -> None:
    async def wait() -> None:
        pool = pool_of(database, waiting_max=2)
        await pool.open()
        async with pool.transaction():
            waiting = [asyncio.create_task(pool.ping()) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(DatabaseUnavailable):
                await pool.ping()
        await asyncio.gather(*waiting)
        await pool.aclose()

    asyncio.run(wait())


def test_a_connection_given_to_a_call_that_is_cancelled_at_that_moment_is_not_lost(database: str) -> None:
    async def cancel() -> None:
        pool = pool_of(database)
        await pool.open()
        async with pool.transaction():
            waiting = asyncio.create_task(pool.ping())
            await asyncio.sleep(0)
        waiting.cancel()  # it has been given the connection, and has not run since
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(5):
            await pool.ping()
        assert pool.in_use == 0
        await pool.aclose()

    asyncio.run(cancel())


def test_a_statement_that_takes_too_long_is_ended_and_its_connection_stays(database: str) -> None:
    async def wait() -> None:
        async with (
            opened_world(database) as world,
            opened_pool(database, size=1, statement_timeout_s=0.05) as pool,
            bystander(database) as other,
        ):
            session_id = await open_session(world, await add_user(world))
            backend = await _backend(pool)
            await other.execute("BEGIN")
            await other.fetch(statements()["revoke_session"], session_id, None, "session_revoked")
            with pytest.raises(DatabaseUnavailable):
                await pool.fetchrow("revoke_session", session_id, None, "session_revoked")
            assert await _backend(pool) == backend

    asyncio.run(wait())


def test_a_server_that_stands_still_holds_nobody_up(database: str) -> None:
    async def stop() -> None:
        async with opened_pool(database, size=1, statement_timeout_s=0.05) as pool:
            backend = await _backend(pool)
            os.kill(backend, signal.SIGSTOP)
            try:
                with pytest.raises(DatabaseUnavailable):
                    await pool.ping()
                await until(lambda: is_answered(pool))
                assert await _backend(pool) != backend
            finally:
                os.kill(backend, signal.SIGCONT)

    asyncio.run(stop())


@pytest.mark.parametrize("is_prepared", [False, True], ids=["after a statement", "after a prepare"])
def test_who_stands_still_in_a_transaction_holds_nobody_up(database: str, is_prepared: bool) -> None:
    """Stopped, or on a machine that is gone without a word: its connection stands, and nothing more comes on it."""

    async def stand_still() -> None:
        async with bystander(database) as other:
            await other.execute("CREATE TABLE held (row int); INSERT INTO held VALUES (1)")
            stopped = await connect(database, connect_timeout_s=5, statement_timeout_s=0.2)
            await stopped.execute("BEGIN; SELECT FROM held FOR UPDATE")
            if is_prepared:
                await stopped.prepare("SELECT row FROM held")
            async with asyncio.timeout(20):
                await other.execute("SELECT FROM held FOR UPDATE")
            with pytest.raises(DatabaseUnavailable):
                await PrimaryConnection(stopped).commit()

    asyncio.run(stand_still())


def test_connections_that_the_server_ends_are_replaced(database: str) -> None:
    async def end() -> None:
        async with bystander(database) as outside, opened_pool(database, size=4) as pool:
            await outside.execute(
                f"SELECT pg_terminate_backend(pid) FROM ({CONNECTIONS.replace('count(*)', 'pid')}) AS ours (pid)"
            )
            await until(lambda: is_answered(pool))
            await until(lambda: _are_connected(outside, 4))
            await asyncio.gather(*(pool.ping() for _ in range(20)))

    asyncio.run(end())


def test_the_pool_comes_back_by_itself_when_a_killed_server_does() -> None:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "data", durable=False)

    async def restart() -> None:
        async with opened_pool(server.dsn(), size=4) as pool:
            assert server._process is not None
            server._process.kill()
            await until(lambda: _is_refused_at_once(pool))
            server.start()
            await until(lambda: is_answered(pool))

    try:
        with server:
            asyncio.run(restart())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_connection_is_replaced_whatever_the_first_attempt_runs_into(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end() -> None:
        async with bystander(database) as outside, opened_pool(database, size=2) as pool:
            monkeypatch.setattr("tidegate.storage.pools.connect", fail_at_first)
            await outside.execute(
                f"SELECT pg_terminate_backend(pid) FROM ({CONNECTIONS.replace('count(*)', 'pid')}) AS ours (pid)"
            )
            await until(lambda: _are_connected(outside, 2))
            await until(lambda: is_answered(pool))

    failures = [ValueError(), RuntimeError(), ValueError()]

    async def fail_at_first(dsn: str, **options: float) -> Driver:
        if failures:
            raise failures.pop()
        return await connect(dsn, connect_timeout_s=5.0, statement_timeout_s=5.0)

    asyncio.run(end())
    assert failures == []


async def _is_refused_at_once(pool: PrimaryPool) -> bool:
    """Without waiting for a connection, of which there will be none."""
    try:
        await pool.ping()
    except DatabaseUnavailable:
        return pool.in_use == 0 and pool._is_away
    return False


def test_a_statement_whose_columns_changed_meanwhile_is_prepared_anew(database: str) -> None:
    """A migration must not break a node that runs ("pre")."""

    async def migrate() -> None:
        async with opened_world(database) as world, opened_pool(database, size=1) as pool:
            bob = await add_user(world)
            users = PostgresUsers(pool)
            before = await users.profile(bob)
            await world.outside.execute("ALTER TABLE users ALTER COLUMN last_login TYPE timestamp(3)")
            assert await users.profile(bob) == before

    asyncio.run(migrate())


def test_within_a_transaction_such_a_statement_is_for_the_caller_to_try_again(database: str) -> None:
    async def migrate() -> None:
        async with opened_world(database) as world, opened_pool(database, size=1) as pool:
            bob = await add_user(world)
            await pool.fetchrow("user_profiles", [bob])
            await world.outside.execute("ALTER TABLE users ALTER COLUMN last_login TYPE timestamp(3)")
            with pytest.raises(DatabaseUnavailable):
                async with pool.transaction() as work:
                    await work.fetchrow("user_profiles", [bob])
            assert await pool.fetchrow("user_profiles", [bob]) is not None

    asyncio.run(migrate())


def test_a_failed_statement_tells_nothing_of_its_values(database: str) -> None:
    """PostgreSQL's own text shows the row that it refuses."""

    async def fail() -> list[str]:
        told = []
        async with opened_pool(database, size=2) as pool:
            users = PostgresUsers(pool)
            await users.add(new_user(username="taken-canary", password_hash="hash-canary"))
            for user in (
                new_user(username="taken-canary", password_hash="hash-canary"),
                new_user(username="Refused-canary", password_hash="hash-canary"),
                new_user(username="nul-canary\0", password_hash="hash-canary"),
                new_user(username="lone-canary\ud800", password_hash="hash-canary"),
                new_user(username="canary" * 100, password_hash="hash-canary"),
            ):
                with pytest.raises((StatementFailed, IdentifierTaken)) as failed:
                    await users.add(user)
                told += traceback.format_exception(failed.value)
            await pool.ping()
        return told

    told = asyncio.run(fail())
    assert "StatementFailed: add_user: 23514 CheckViolationError users users_username_form" in "".join(told)
    assert not [line for line in told if "canary" in line and 'File "' not in line]


def test_a_pool_that_cannot_open_says_so_and_leaves_nothing_open(database: str, postgres: EmbeddedPostgres) -> None:
    async def open_each() -> None:
        for dsn in (postgres.dsn("no_such_database"), "postgresql://tidegate@127.0.0.1:1/tidegate"):
            pool = pool_of(dsn, size=3)
            with pytest.raises(DatabaseUnavailable):
                await pool.open()
            with pytest.raises(DatabaseUnavailable):
                await pool.ping()

    asyncio.run(open_each())


def test_a_server_that_accepts_and_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody reads
        pool = PrimaryPool(
            dsn=f"postgresql://tidegate@127.0.0.1:{silent.getsockname()[1]}/tidegate?sslmode=disable",
            size=2,
            acquire_timeout_s=1.0,
            statement_timeout_s=1.0,
            connect_timeout_s=0.05,
        )
        with pytest.raises(DatabaseUnavailable):
            asyncio.run(pool.open())


def test_a_closed_pool_serves_nobody(database: str) -> None:
    async def close() -> None:
        pool = pool_of(database)
        await pool.open()
        await pool.aclose()
        with pytest.raises(DatabaseUnavailable):
            await pool.ping()

    asyncio.run(close())


async def _are_connected(outside: "asyncpg.Connection[asyncpg.Record]", count: int) -> bool:
    return bool(await outside.fetchval(CONNECTIONS) == count)


async def _backend(pool: PrimaryPool) -> int:
    (connection,) = pool._held
    return int(connection._driver.get_server_pid())
