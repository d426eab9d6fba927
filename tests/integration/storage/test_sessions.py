"""What only a real database can show of sessions, beyond their contract."""

import asyncio

from tests.contract.sessions import LIFETIMES, add_user, fates, new_session, open_session
from tests.integration.storage.worlds import PostgresWorld, bystander, opened_pool, opened_world, until_waiting_or_done
from tidegate.domain.sessions import Fate, SessionLifetimes
from tidegate.storage.statements import statements


def test_the_sessions_of_a_user_deleted_by_hand_are_dead(database: str) -> None:
    """The foreign key leaves them without a user; nobody has revoked them."""

    async def delete() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            session_id = await open_session(world, bob)
            await fates(world, session_id, 0, 1)
            await world.outside.execute("DELETE FROM users")
            assert not await world.sessions.is_live(session_id)
            assert await fates(world, session_id, 2, 1, 0) == [Fate.DEAD] * 3
            assert not await world.sessions.revoke(session_id)

    asyncio.run(delete())


def test_an_expired_session_is_revoked_all_the_same_for_the_access_tokens_of_its_last_minutes(database: str) -> None:
    async def revoke() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            await open_session(world, bob)
            await world.let_pass(LIFETIMES.idle_s + 1)
            assert await world.sessions.change_password(new_session(bob), old="stored", stored="changed")
            assert await world.outside.fetchval("SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL") == 1

    asyncio.run(revoke())


def test_an_idle_lifetime_beyond_the_absolute_one_is_the_absolute_one(database: str) -> None:
    lifetimes = SessionLifetimes(idle_s=9_000, absolute_s=100, reuse_grace_s=10)

    async def log_in() -> None:
        async with opened_pool(database) as pool, bystander(database) as outside:
            world = PostgresWorld(pool, outside, lifetimes)
            session_id = await open_session(world, await add_user(world))
            await world.let_pass(101)
            assert not await world.sessions.is_live(session_id)

    asyncio.run(log_in())


def test_clean_up_neither_waits_for_a_row_that_somebody_holds_nor_removes_it(database: str) -> None:
    async def clean_up() -> None:
        async with opened_world(database) as world, bystander(database) as other:
            bob = await add_user(world)
            held, free = await open_session(world, bob), await open_session(world, bob)
            await world.let_pass(LIFETIMES.idle_s + 100)
            await other.execute("BEGIN")
            await other.fetch("SELECT FROM sessions WHERE session_id = $1 FOR UPDATE", held)
            async with asyncio.timeout(5):
                assert await world.sessions.remove_dead(dead_for_s=50, at_most=10) == 1
            assert await world.outside.fetchval("SELECT array_agg(session_id) FROM sessions") == [held]
            assert free != held

    asyncio.run(clean_up())


def test_clean_up_looks_at_a_refreshed_session_once_and_not_again_before_it_may_have_died(database: str) -> None:
    async def clean_up() -> None:
        async with opened_world(database) as world:
            session_id = await open_session(world, await add_user(world))
            await world.let_pass(LIFETIMES.idle_s - 1)
            await fates(world, session_id, 0)
            await world.let_pass(100)
            assert await world.sessions.remove_dead(dead_for_s=50, at_most=10) == 1
            assert await world.sessions.remove_dead(dead_for_s=50, at_most=10) == 0
            assert await world.sessions.is_live(session_id)
            await world.let_pass(LIFETIMES.idle_s)
            assert await world.sessions.remove_dead(dead_for_s=50, at_most=10) == 1
            assert await world.count() == 0

    asyncio.run(clean_up())


def test_clean_up_does_not_remove_what_a_refresh_has_just_kept_alive(database: str) -> None:
    """It was found due, then refreshed, then looked at."""

    async def clean_up() -> None:
        async with opened_world(database) as world, bystander(database) as other:
            session_id = await open_session(world, await add_user(world))
            await world.outside.execute("UPDATE sessions SET cleanup_due_at = now() - interval '1 hour'")
            await other.execute("BEGIN")
            await other.fetch(statements()["rotate_session"], session_id, 0, world.sessions._idle)
            cleaning = asyncio.ensure_future(world.sessions.remove_dead(dead_for_s=50, at_most=10))
            await until_waiting_or_done(world, cleaning)
            await other.execute("COMMIT")
            await cleaning
            await world.sessions.remove_dead(dead_for_s=50, at_most=10)
            assert await world.sessions.is_live(session_id)

    asyncio.run(clean_up())
