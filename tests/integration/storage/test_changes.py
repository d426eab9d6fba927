"""Whoever changes something, its change waits to be told, if and only if it is committed; and nothing vanishes untold."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from tests.contract.sessions import add_user, fates, new_session, open_session
from tests.integration.storage.worlds import PostgresWorld, bystander, opened_world, until
from tidegate.domain.changes import ChangeKind
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.users import ProfileChange
from tidegate.storage.changes import PostgresChanges


class World(PostgresWorld):
    """With the changes that wait."""

    changes: PostgresChanges

    async def taken(self) -> list[tuple[str, UUID | None]]:
        """What waits, which is removed."""
        waiting = await self.changes.read(at_most=10_000)
        await self.changes.remove(waiting)
        return [(change.kind, change.subject_id) for change in waiting]


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[World]:
    async with opened_world(dsn) as plain:
        world = World(plain.pool, plain.outside)
        world.changes = PostgresChanges(plain.pool)
        yield world


def told(dsn: str, story: Callable[[World], Awaitable[None]]) -> None:
    async def tell() -> None:
        async with opened(dsn) as world:
            await story(world)

    asyncio.run(tell())


def test_whatever_ends_a_session_waits_to_be_told(database: str) -> None:
    async def story(world: World) -> None:
        bob, ann, eve, dan = [await add_user(world) for _ in range(4)]
        reused, logged_out, changed, disabled, deleted = [
            await open_session(world, user_id) for user_id in (bob, bob, ann, eve, dan)
        ]
        assert await world.taken() == [(ChangeKind.USER_ADDED, user_id) for user_id in (bob, ann, eve, dan)]
        await fates(world, reused, 0, 1, 0)
        await world.sessions.revoke(logged_out)
        await world.sessions.change_password(new_session(ann), old="stored", stored="changed")
        await world.disable(eve)
        await world.delete(dan)
        ended = [reused, logged_out, changed, disabled, deleted]
        assert await world.taken() == [(ChangeKind.SESSION_REVOKED, session_id) for session_id in ended]
        await world.sessions.revoke(reused)
        assert await world.taken() == [], "it had ended before"

    told(database, story)


def test_a_login_a_refresh_a_rehash_and_clean_up_tell_nothing(database: str) -> None:
    async def story(world: World) -> None:
        bob = await add_user(world)
        await world.taken()
        await fates(world, await open_session(world, bob), 0)
        await world.users.rehash(bob, old="stored", new="better")
        await world.outside.execute("UPDATE users SET last_login = now()")
        await world.sessions.remove_dead(dead_for_s=0, at_most=100)
        assert await world.taken() == []

    told(database, story)


def test_changed_profiles_and_what_is_done_by_hand_wait_to_be_told(database: str) -> None:
    async def story(world: World) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        await world.taken()
        await world.users.change_profile(bob, ProfileChange(full_name="Robert"))
        await world.outside.execute("UPDATE users SET email = 'bob@example.org' WHERE userid = $1", bob)
        for _ in range(2):  # the second time it had ended before
            await world.outside.execute("UPDATE sessions SET revoked_at = now() WHERE session_id = $1", session_id)
        assert await world.taken() == [
            (ChangeKind.PROFILE_CHANGED, bob),
            (ChangeKind.PROFILE_CHANGED, bob),
            (ChangeKind.SESSION_REVOKED, session_id),
        ]

    told(database, story)


def test_users_who_are_added_by_the_thousand_are_told_of_in_one_word(database: str) -> None:
    async def story(world: World) -> None:
        add = (
            "INSERT INTO users (userid, username, password)"
            " SELECT gen_random_uuid(), 'u' || number, 'x' FROM generate_series($1::int, $2::int) AS number"
        )
        await world.outside.execute(add, 1, 1_000)
        assert {kind for kind, _ in await world.taken()} == {ChangeKind.USER_ADDED}
        await world.outside.execute(add, 2_000, 3_000)
        assert await world.taken() == [(ChangeKind.USERS_ADDED, None)]

    told(database, story)


def test_what_is_rolled_back_is_not_told_and_what_commits_late_waits_all_the_same(database: str) -> None:
    """Whose number is lower may come later: no reader may go by the last number that it has seen."""

    async def story(world: World) -> None:
        bob = await add_user(world)
        early, rolled_back, late = [await open_session(world, bob) for _ in range(3)]
        await world.taken()
        await world.outside.execute("BEGIN")
        await world.outside.execute("UPDATE sessions SET revoked_at = now() WHERE session_id = $1", late)
        async with bystander(database) as other:
            await other.execute("BEGIN")
            await other.execute("UPDATE sessions SET revoked_at = now() WHERE session_id = $1", rolled_back)
            await other.execute("ROLLBACK")
        await world.sessions.revoke(early)
        assert await world.taken() == [(ChangeKind.SESSION_REVOKED, early)]
        await world.outside.execute("COMMIT")
        assert await world.taken() == [(ChangeKind.SESSION_REVOKED, late)]

    told(database, story)


def test_what_somebody_holds_is_read_all_the_same(database: str) -> None:
    """Another relay has been stopped while it removes: who asks us must be able to rely on our answer."""

    async def story(world: World) -> None:
        bob = await add_user(world)
        async with bystander(database) as stopped:
            await stopped.execute("BEGIN; DELETE FROM changes")
            (waiting,) = await world.changes.read(at_most=100)
            assert waiting.subject_id == bob
            await asyncio.wait_for(world.changes.remove([waiting]), 10)
            await stopped.execute("ROLLBACK")
        assert len(await world.taken()) == 1

    told(database, story)


def test_no_more_is_read_than_was_asked_for_and_nothing_that_was_not_read_is_removed(database: str) -> None:
    async def story(world: World) -> None:
        users = [await add_user(world) for _ in range(5)]
        first = await world.changes.read(at_most=2)
        assert [change.subject_id for change in first] == users[:2]
        await world.changes.remove(first)
        assert [subject for _, subject in await world.taken()] == users[2:]

    told(database, story)


def test_what_came_later_than_what_is_condensed_stays_as_it_is(database: str) -> None:
    """Somebody may be about to tell it."""

    async def story(world: World) -> None:
        await add_user(world)
        newest = await world.changes.newest()
        bob = await add_user(world)
        await world.changes.condense(up_to=newest)
        assert [(change.kind, change.subject_id) for change in await world.changes.read(at_most=10)] == [
            (ChangeKind.USER_ADDED, bob),
            (ChangeKind.LOST, None),
        ]

    told(database, story)


def test_what_is_condensed_leaves_the_word_that_there_was_something(database: str) -> None:
    async def story(world: World) -> None:
        await world.changes.condense()
        assert await world.changes.read(at_most=10) == []
        for _ in range(3):
            await add_user(world)
        await world.changes.condense()
        (first,) = await world.changes.read(at_most=10)
        assert (first.kind, first.subject_id) == (ChangeKind.LOST, None)
        await add_user(world)
        await world.changes.condense()
        (second,) = await world.changes.read(at_most=10)
        assert second.kind == ChangeKind.LOST
        assert second.change_id > first.change_id
        # A relay that has told the first word removes it: what was dropped since is not told by that.
        await world.changes.remove([first])
        assert await world.changes.read(at_most=10) == [second]

    told(database, story)


def test_a_standby_is_not_believed(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        async def of_a_standby(_statement: str, *_values: object) -> list[dict[str, object]]:
            return [{"is_standby": True, "started_at": None, "change_id": None, "kind": None, "subject_id": None}]

        monkeypatch.setattr(world.pool, "fetch", of_a_standby)
        with pytest.raises(DatabaseUnavailable):
            await world.changes.read(at_most=10)

    told(database, story)


def test_what_was_read_of_another_server_is_not_removed_here(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failover numbers repeat: what the old primary had drawn and not passed on the new one draws again."""

    async def story(world: World) -> None:
        await add_user(world)
        (untold,) = await world.changes.read(at_most=10)

        async def of_the_old_primary(_statement: str, *_values: object) -> list[dict[str, object]]:
            started_at = datetime(2026, 1, 1, tzinfo=UTC)
            return [{"is_standby": False, "started_at": started_at, **untold._replace(subject_id=uuid4())._asdict()}]

        with monkeypatch.context() as failing_over:
            failing_over.setattr(world.pool, "fetch", of_the_old_primary)
            told_of_there = await world.changes.read(at_most=10)
        assert [change.change_id for change in told_of_there] == [untold.change_id]
        await world.changes.remove(told_of_there)
        assert len(await world.taken()) == 1, "nobody has told of it"
        assert await world.taken() == []

    told(database, story)


def test_eight_writers_with_open_transactions_lose_nothing(database: str) -> None:
    """Numbers are drawn at once and committed in any order, while the table is read and emptied."""

    async def story(world: World) -> None:
        bob = await add_user(world)
        sessions = [[await open_session(world, bob) for _ in range(10)] for _ in range(8)]
        await world.taken()
        heard: set[UUID | None] = set()

        async def write(own: list[UUID]) -> None:
            async with bystander(database) as connection:
                for session_id in own:
                    async with connection.transaction():
                        await connection.execute("UPDATE sessions SET revoked_at = now() WHERE session_id = $1", session_id)
                        await asyncio.sleep(0.001 * (hash(session_id) % 10))

        writing = asyncio.gather(*(write(own) for own in sessions))

        async def all_heard() -> bool:
            heard.update(subject for _, subject in await world.taken())
            return len(heard) == 80

        await until(all_heard)
        await writing
        assert heard == {session_id for own in sessions for session_id in own}

    told(database, story)
