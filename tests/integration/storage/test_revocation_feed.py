"""The feed of revocations hears everything, and knows when it may have missed something."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.contract.revocations import becomes_revoked
from tests.contract.sessions import add_user, open_session
from tests.fakes.knowledge import FakePrimary, HandMonotonic, Watcher
from tests.integration.storage.worlds import (
    ACCESS_TOKEN_TTL_S_MAX,
    PostgresWorld,
    bystander,
    opened_pool,
    opened_world,
    until,
)
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.users import ProfileChange
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.feed.knowledge import FORGET_MARGIN_S, Knowledge
from tidegate.storage.connections import Driver, connect
from tidegate.storage.revocations import APPLICATION_NAME, CHANNEL, PROFILE_CHANNEL, RevocationFeed
from tidegate.storage.statements import statements


class World(PostgresWorld):
    """With a feed."""

    revocations: Knowledge


@asynccontextmanager
async def following(
    dsn: str, primary: FakePrimary, *, trusted_s: float = 600.0, monotonic: HandMonotonic | None = None
) -> AsyncIterator[World]:
    """A world and a feed that has been loaded, trusted for longer than a test takes."""
    async with opened_pool(dsn) as pool, bystander(dsn) as outside:
        world = World(pool, outside)
        world.revocations, feed = feed_of(dsn, primary, trusted_s=trusted_s, monotonic=monotonic)
        await feed.start()
        await world.revocations.until_proven()
        try:
            yield world
        finally:
            await feed.aclose()


def feed_of(
    dsn: str, primary: FakePrimary, *, trusted_s: float = 600.0, monotonic: HandMonotonic | None = None
) -> tuple[Knowledge, RevocationFeed]:
    clock = monotonic or time.monotonic
    knowledge = Knowledge(
        primary=primary, access_token_ttl_s_max=ACCESS_TOKEN_TTL_S_MAX, trusted_s=trusted_s, monotonic=clock
    )
    return knowledge, RevocationFeed(dsn=dsn, hears=knowledge, heartbeat_s=0.01, connect_timeout_s=5.0, monotonic=clock)


BACKENDS = (
    f"SELECT pid FROM pg_stat_activity WHERE application_name = '{APPLICATION_NAME}' AND datname = current_database()"
)


async def backends(world: World) -> set[int]:
    """The process that feeds; none or two while it is being replaced."""
    return {row["pid"] for row in await world.outside.fetch(BACKENDS)}


def test_the_answer_to_a_heartbeat_comes_after_every_notice_of_what_was_acknowledged_before(database: str) -> None:
    """What the trust in the feed rests on, tried a few hundred times."""

    async def try_it() -> None:
        async with opened_world(database) as world, bystander(database) as listener:
            heard: set[str] = set()
            await listener.add_listener(CHANNEL, lambda *notice: heard.add(str(notice[3])))
            bob = await add_user(world)
            for _ in range(300):
                session_id = await open_session(world, bob)
                await world.sessions.revoke(session_id)
                await listener.fetchrow(statements()["feed_heartbeat"])
                assert str(session_id) in heard

    asyncio.run(try_it())


async def _is(told: list[UUID | str], expected: list[UUID | str]) -> bool:
    return told == expected


def test_changes_of_profiles_are_told_and_so_is_every_interruption(database: str) -> None:
    async def change_and_cut() -> None:
        async with opened_pool(database) as pool, bystander(database) as outside:
            world = World(pool, outside)
            (knowledge, feed), watcher = feed_of(database, FakePrimary()), Watcher()
            knowledge.tell(watcher)
            await feed.start()
            try:
                await knowledge.until_proven()
                assert watcher.told == ["interrupted"]
                bob = await add_user(world)
                await world.outside.execute("SELECT pg_notify($1, 'no id')", PROFILE_CHANNEL)
                await world.users.change_profile(bob, ProfileChange(full_name="Robert"))
                await until(lambda: _is(watcher.told, ["interrupted", bob]))
                (pid,) = await backends(world)
                await world.outside.execute("SELECT pg_terminate_backend($1)", pid)
                await until(lambda: _is(watcher.told, ["interrupted", bob, "interrupted"]))
                await world.users.change_profile(bob, ProfileChange(full_name="Bob"))
                await until(lambda: _is(watcher.told, ["interrupted", bob, "interrupted", bob]))
            finally:
                await feed.aclose()

    asyncio.run(change_and_cut())


def test_a_feed_that_starts_knows_what_was_revoked_before(database: str) -> None:
    async def start() -> None:
        async with opened_world(database) as world:
            bob = await add_user(world)
            recent, at_the_edge, old, live = [await open_session(world, bob) for _ in range(4)]
            await world.sessions.revoke(old)
            await world.let_pass(100)
            await world.sessions.revoke(at_the_edge)
            await world.let_pass(ACCESS_TOKEN_TTL_S_MAX + FORGET_MARGIN_S - 50)
            await world.sessions.revoke(recent)
            async with following(database, FakePrimary()) as followed:
                assert await followed.revocations.is_revoked(recent)
                assert await followed.revocations.is_revoked(at_the_edge)
                assert not await followed.revocations.is_revoked(live)
                assert followed.revocations.remembered == 2

    asyncio.run(start())


def test_what_is_revoked_while_the_feed_is_cut_is_learned_when_it_is_back(database: str) -> None:
    async def cut() -> None:
        async with following(database, FakePrimary()) as world, bystander(database) as other:
            bob = await add_user(world)
            session_id = await open_session(world, bob)
            first = await backends(world)
            # So that it cannot load before the revocation, of which no notice goes out.
            await other.execute("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
            await world.outside.execute(f"SELECT pg_terminate_backend(pid) FROM ({BACKENDS}) AS feed")
            await until(lambda: _has_another_backend(world, first))
            await other.execute("UPDATE sessions SET revoked_at = now(); COMMIT")
            assert await becomes_revoked(world, session_id)
            after = await open_session(world, bob)
            await world.sessions.revoke(after)
            assert await becomes_revoked(world, after)

    asyncio.run(cut())


def test_what_is_revoked_just_after_the_load_is_heard(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no gap between what was loaded and what is heard: the feed listens first."""

    async def follow() -> None:
        async with opened_world(database) as world:
            session_id = await open_session(world, await add_user(world))
            load = RevocationFeed._load

            async def load_and_be_late(feed: RevocationFeed, connection: Driver) -> None:
                await load(feed, connection)
                await world.sessions.revoke(session_id)

            monkeypatch.setattr(RevocationFeed, "_load", load_and_be_late)
            async with following(database, FakePrimary()) as followed:
                assert await becomes_revoked(followed, session_id)

    asyncio.run(follow())


def test_what_is_done_by_hand_is_told_too(database: str) -> None:
    """Whoever relies on this line, because there is no queue or while it is away, knows no less than by the queue."""

    async def do_it() -> None:
        async with following(database, FakePrimary()) as world:
            watcher = Watcher()
            world.revocations.tell(watcher)
            bob = await add_user(world)
            session_id = await open_session(world, bob)
            await world.outside.execute("UPDATE sessions SET revoked_at = now() WHERE session_id = $1", session_id)
            await world.outside.execute("UPDATE users SET full_name = 'Robert' WHERE userid = $1", bob)
            await until(lambda: _is(watcher.told, [bob]))
            assert await world.revocations.is_revoked(session_id)

    asyncio.run(do_it())


def test_a_feed_that_stands_still_is_not_trusted_and_comes_back(database: str) -> None:
    async def stand_still() -> None:
        primary = FakePrimary()
        async with following(database, primary, trusted_s=0.3) as world:
            live = await open_session(world, await add_user(world))
            primary.live.add(live)
            (backend,) = await backends(world)
            os.kill(backend, signal.SIGSTOP)
            try:
                await until(lambda: _is_trusted(world, False))
                assert not await world.revocations.is_revoked(live)
                assert await world.revocations.is_revoked(uuid4())
                assert primary.asked == 2
                # It does not wait for the hung one.
                await until(lambda: _is_trusted(world, True))
            finally:
                os.kill(backend, signal.SIGCONT)

    asyncio.run(stand_still())


def test_a_feed_whose_last_heartbeat_is_too_old_asks_the_primary(database: str) -> None:
    """Seen at the moment of asking: no timer has to run for it, so a stalled event loop cannot hide it."""

    async def ask() -> None:
        clock, live = HandMonotonic(), uuid4()
        primary = FakePrimary(live)
        async with following(database, primary, trusted_s=0.8, monotonic=clock) as world:
            assert not await world.revocations.is_revoked(uuid4())
            assert primary.asked == 0
            clock.now += 0.9
            assert not world.revocations.is_trusted
            assert await world.revocations.is_revoked(uuid4())
            assert not await world.revocations.is_revoked(live)
            primary.is_away = True
            clock.now += 0.9
            with pytest.raises(DatabaseUnavailable):
                await world.revocations.is_revoked(live)

    asyncio.run(ask())


def test_what_is_known_to_be_revoked_needs_no_trust(database: str) -> None:
    async def ask() -> None:
        clock, primary = HandMonotonic(), FakePrimary()
        primary.is_away = True
        async with following(database, primary, monotonic=clock) as world:
            session_id = await open_session(world, await add_user(world))
            await world.sessions.revoke(session_id)
            assert await becomes_revoked(world, session_id)
            clock.now += 10_000
            assert await world.revocations.is_revoked(session_id)

    asyncio.run(ask())


def test_revocations_are_forgotten_when_no_access_token_can_be_left(database: str) -> None:
    async def forget() -> None:
        clock = HandMonotonic()
        async with following(database, FakePrimary(), monotonic=clock) as world:
            bob = await add_user(world)
            first, second = await open_session(world, bob), await open_session(world, bob)
            await world.sessions.revoke(first)
            assert await becomes_revoked(world, first)
            clock.now += ACCESS_TOKEN_TTL_S_MAX + FORGET_MARGIN_S - 1
            await world.sessions.revoke(second)
            assert await becomes_revoked(world, second)
            assert await world.revocations.is_revoked(first)
            clock.now += 2
            await until(lambda: _remembers(world, 1))
            assert await world.revocations.is_revoked(second)

    asyncio.run(forget())


def test_a_backend_that_does_not_listen_is_found_out(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever made it so: its answers prove nothing."""

    async def deaf(*_: object) -> None:
        return None

    async def follow() -> None:
        async with following(database, FakePrimary()) as world:
            first = await backends(world)
            await until(lambda: _has_another_backend(world, first))

    monkeypatch.setattr(asyncpg.Connection, "add_listener", deaf)
    asyncio.run(follow())


def test_a_notice_that_is_no_id_does_no_harm(database: str) -> None:
    async def notify() -> None:
        async with following(database, FakePrimary()) as world:
            session_id = await open_session(world, await add_user(world))
            for payload in ("", "nonsense", "0" * 7_000):
                await world.outside.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
            await world.sessions.revoke(session_id)
            assert await becomes_revoked(world, session_id)
            assert world.revocations.remembered == 1

    asyncio.run(notify())


def test_a_revocation_that_is_rolled_back_is_not_told(database: str) -> None:
    async def roll_back() -> None:
        async with following(database, FakePrimary()) as world:
            bob = await add_user(world)
            kept, revoked = await open_session(world, bob), await open_session(world, bob)
            await world.outside.execute("BEGIN")
            assert await world.outside.fetch(statements()["revoke_session"], kept, None, "session_revoked")
            await world.outside.execute("ROLLBACK")
            await world.sessions.revoke(revoked)
            assert await becomes_revoked(world, revoked)
            assert not await world.revocations.is_revoked(kept)

    asyncio.run(roll_back())


def test_while_there_is_no_database_the_primary_is_asked_and_says_so(postgres: EmbeddedPostgres) -> None:
    async def start() -> None:
        primary = FakePrimary()
        primary.is_away = True
        knowledge, feed = feed_of(postgres.dsn("no_such_database"), primary)
        await feed.start()
        with pytest.raises(DatabaseUnavailable):
            await knowledge.is_revoked(uuid4())
        assert not knowledge.is_trusted
        await feed.aclose()

    asyncio.run(start())


def test_the_feed_is_tried_again_whatever_the_first_attempt_runs_into(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [ValueError(), RuntimeError()]

    async def fail_at_first(dsn: str, **options: object) -> Driver:
        if failures:
            raise failures.pop()
        return await connect(dsn, connect_timeout_s=5.0, statement_timeout_s=5.0)

    async def follow() -> None:
        async with following(database, FakePrimary()) as world:
            assert world.revocations.is_trusted

    monkeypatch.setattr("tidegate.storage.revocations.connect", fail_at_first)
    asyncio.run(follow())
    assert failures == []


async def _is_trusted(world: World, wanted: bool) -> bool:
    return world.revocations.is_trusted is wanted


async def _has_another_backend(world: World, first: set[int]) -> bool:
    found = await backends(world)
    return bool(found) and not found & first


async def _remembers(world: World, count: int) -> bool:
    return world.revocations.remembered == count
