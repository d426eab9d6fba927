"""A login and whatever ends what its password allows, in both orders: promise P3 in the database.

Each test holds one side open in a transaction, lets the other run into it, and lets go. Seen to fail: those of a login that
comes after, without FOR KEY SHARE in open_session; those of an end that comes after, without FOR UPDATE in lock_user.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from tests.contract.sessions import add_user, fates, new_session, open_session
from tests.integration.storage.worlds import PostgresWorld, bystander, opened_world, until_waiting_or_done
from tidegate.domain.sessions import Fate, NewSession
from tidegate.storage.statements import statements

Ending = Callable[[PostgresWorld, UUID], Awaitable[object]]


async def _change(world: PostgresWorld, user_id: UUID) -> object:
    return await world.sessions.change_password(new_session(user_id), old="stored", stored="changed")


async def _disable(world: PostgresWorld, user_id: UUID) -> object:
    return await world.administration.disable(user_id)


async def _delete(world: PostgresWorld, user_id: UUID) -> object:
    return await world.administration.delete(user_id)


ENDINGS = pytest.mark.parametrize("end", [_change, _disable, _delete], ids=["change", "disable", "delete"])


@asynccontextmanager
async def login_under_way(dsn: str, session: NewSession) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A login whose statement has run, but whose commit is held back."""
    async with bystander(dsn) as connection:
        await connection.execute("BEGIN")
        opened = await connection.fetchrow(
            statements()["open_session"],
            session.user_id,
            "stored",
            session.session_id,
            timedelta(hours=1),
            timedelta(hours=1),
            None,
            None,
        )
        assert opened is not None
        yield connection


@ENDINGS
def test_an_end_that_comes_after_a_login_waits_for_it_and_revokes_its_session(database: str, end: Ending) -> None:
    async def meet() -> None:
        async with opened_world(database) as world:
            session = new_session(await add_user(world))
            async with login_under_way(database, session) as login:
                ending = asyncio.ensure_future(end(world, session.user_id))
                await until_waiting_or_done(world, ending)
                await login.execute("COMMIT")
            assert await ending
            assert not await world.sessions.is_live(session.session_id)
            assert await fates(world, session.session_id, 0) == [Fate.DEAD]
            revoked_at = await world.outside.fetchval(
                "SELECT revoked_at FROM sessions WHERE session_id = $1", session.session_id
            )
            assert revoked_at is not None

    asyncio.run(meet())


@pytest.mark.parametrize(
    "ending",
    ["UPDATE users SET password = 'changed'", "UPDATE users SET password = '!' || password", "DELETE FROM users"],
    ids=["change", "disable", "delete"],
)
def test_a_login_that_comes_after_an_end_waits_for_it_and_opens_nothing(database: str, ending: str) -> None:
    async def meet() -> None:
        async with opened_world(database) as world, bystander(database) as other:
            bob = await add_user(world)
            await other.execute("BEGIN")
            await other.fetch(statements()["lock_user"], bob)
            login = asyncio.ensure_future(world.sessions.open(new_session(bob), relied_on="stored"))
            await until_waiting_or_done(world, login)
            await other.execute(ending)
            await other.execute("COMMIT")
            assert await login is False
            assert await world.count() == 0
            assert await world.jobs() == []

    asyncio.run(meet())


@ENDINGS
def test_of_logins_racing_with_an_end_no_session_stays_live(database: str, end: Ending) -> None:
    async def race() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            sessions = [new_session(bob) for _ in range(60)]
            logins = [world.sessions.open(session, relied_on="stored") for session in sessions]
            await asyncio.gather(*logins[:30], end(world, bob), *logins[30:])
            assert not any([await world.sessions.is_live(session.session_id) for session in sessions])

    asyncio.run(race())


def test_what_the_worker_writes_does_not_wait_for_a_login(database: str) -> None:
    async def meet() -> None:
        async with opened_world(database) as world:
            session = new_session(await add_user(world))
            async with login_under_way(database, session) as login, asyncio.timeout(5):
                await world.pool.fetch("record_last_logins", [session.user_id], [datetime.now(UTC)])
                assert await world.users.rehash(session.user_id, old="stored", new="rehashed")
                await login.execute("COMMIT")
            assert await world.sessions.is_live(session.session_id)

    asyncio.run(meet())


@pytest.mark.parametrize("column", ["last_login = now()", "password = password", "full_name = 'Bob'"])
def test_a_login_does_not_wait_for_what_changes_no_key(database: str, column: str) -> None:
    async def meet() -> None:
        async with opened_world(database) as world, bystander(database) as other:
            bob = await add_user(world)
            await other.execute(f"BEGIN; UPDATE users SET {column}")
            async with asyncio.timeout(5):
                assert await world.sessions.open(new_session(bob), relied_on="stored")

    asyncio.run(meet())


def test_a_refresh_that_meets_a_revocation_waits_for_it_and_is_dead(database: str) -> None:
    """Promise P5."""

    async def meet() -> None:
        async with opened_world(database) as world, bystander(database) as other:
            session_id = await open_session(world, await add_user(world))
            await other.execute("BEGIN")
            await other.fetch(statements()["revoke_session"], session_id, None, "session_revoked")
            refresh = asyncio.ensure_future(fates(world, session_id, 0))
            await until_waiting_or_done(world, refresh)
            await other.execute("COMMIT")
            assert await refresh == [Fate.DEAD]

    asyncio.run(meet())


def test_a_revocation_that_meets_a_refresh_waits_for_it_and_still_revokes(database: str) -> None:
    async def meet() -> None:
        async with opened_world(database) as world, bystander(database) as other:
            session_id = await open_session(world, await add_user(world))
            await other.execute("BEGIN")
            assert await other.fetch(statements()["rotate_session"], session_id, 0, timedelta(hours=1))
            revocation = asyncio.ensure_future(world.sessions.revoke(session_id))
            await until_waiting_or_done(world, revocation)
            await other.execute("COMMIT")
            assert await revocation
            assert not await world.sessions.is_live(session_id)

    asyncio.run(meet())


def test_a_refresh_touches_no_index(database: str) -> None:
    """HOT: else each refresh writes into every index, and vacuum has to clean them all."""

    async def look() -> None:
        async with opened_world(database) as world:
            session_id = await open_session(world, await add_user(world))
            async with world.outside.transaction():
                for generation in range(20):
                    assert await world.outside.fetch(
                        statements()["rotate_session"], session_id, generation, timedelta(hours=1)
                    )
                written = await world.outside.fetchrow(
                    "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'sessions'"
                )
            assert written is not None
            assert tuple(written) == (20, 20)

    asyncio.run(look())


def test_last_logins_touch_no_index(database: str) -> None:
    async def look() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            async with world.outside.transaction():
                for day in range(10):
                    await world.outside.fetch(
                        statements()["record_last_logins"], [bob], [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)]
                    )
                written = await world.outside.fetchrow(
                    "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'users'"
                )
            assert written is not None
            assert tuple(written) == (10, 10)

    asyncio.run(look())


def test_revocations_of_one_user_at_once_do_not_deadlock(database: str) -> None:
    async def race() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            opened = [await open_session(world, bob) for _ in range(40)]
            counts = await asyncio.gather(*(world.sessions.revoke_all(bob, but=session_id) for session_id in opened))
            assert sum(counts) == 40

    asyncio.run(race())
