"""What every store of sessions promises, whatever stores them."""

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from datetime import UTC
from typing import Protocol
from uuid import UUID, uuid4

from tests.contract.jobs import LoginPut
from tests.contract.stories import told
from tests.contract.users import UserStore, new_user
from tidegate.domain.claims import RefreshGrant
from tidegate.domain.sessions import Fate, NewSession, Rotation, SessionLifetimes
from tidegate.domain.users import DISABLED_MARK
from tidegate.ports.sessions import SessionRemoval, Sessions

LIFETIMES = SessionLifetimes(idle_s=1_000, absolute_s=5_000, reuse_grace_s=10)
"""Short ones, but long enough that a test's own duration does not matter."""


class SessionStore(Sessions, SessionRemoval, Protocol):
    """Sessions and their end."""


class SessionWorld(Protocol):
    """Sessions of `LIFETIMES`, and what a test needs around them."""

    @property
    def users(self) -> UserStore:
        """Whose sessions they are."""

    @property
    def sessions(self) -> SessionStore:
        """What is under test."""

    async def jobs(self) -> list[LoginPut]:
        """Every job that was put and not done, the oldest first."""

    async def let_pass(self, seconds: float) -> None:
        """Make every session as much older, as if the time had passed."""

    async def disable(self, user_id: UUID) -> None:
        """As the operator does."""

    async def delete(self, user_id: UUID) -> None:
        """As the operator does."""

    async def count(self) -> int:
        """How many sessions are stored, live or not."""


async def add_user(world: SessionWorld) -> UUID:
    """A new user whose stored password is "stored"."""
    user = new_user(username=f"user-{uuid4()}")
    await world.users.add(user)
    return user.user_id


def new_session(user_id: UUID, *, device: str | None = None, address: str | None = None) -> NewSession:
    """A session of *user_id* with a new id."""
    return NewSession(session_id=uuid4(), user_id=user_id, device=device, address=address)


async def open_session(world: SessionWorld, user_id: UUID) -> UUID:
    """The id of a session that has been opened."""
    session = new_session(user_id)
    assert await world.sessions.open(session, relied_on="stored")
    return session.session_id


async def fates(world: SessionWorld, session_id: UUID, *generations: int) -> list[Fate]:
    """What presenting the refresh tokens of *generations* one after the other does."""
    return [(await world.sessions.rotate(RefreshGrant(session_id, generation))).fate for generation in generations]


class OpeningContract:
    """What opening promises: only on the password that stands (promise P3), and never without its job."""

    def opened(self) -> AbstractAsyncContextManager[SessionWorld]:
        """A world without users."""
        raise NotImplementedError

    @told
    async def test_an_opened_session_is_live_and_has_put_its_job(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        assert await world.sessions.is_live(session_id)
        (job,) = await world.jobs()
        assert job.user_id == bob
        assert job.at.tzinfo is not None
        assert job.at.utcoffset() == UTC.utcoffset(None)

    @told
    async def test_another_password_than_the_stored_one_opens_nothing(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session = new_session(bob)
        for other in ("", "other", "store", "stored ", "STORED", DISABLED_MARK + "stored"):
            assert not await world.sessions.open(session, relied_on=other)
        assert await world.count() == 0
        assert await world.jobs() == []

    @told
    async def test_a_user_who_is_gone_opens_nothing(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        await world.delete(bob)
        assert not await world.sessions.open(new_session(bob), relied_on="stored")
        assert await world.count() == 0

    @told
    async def test_a_disabled_user_opens_nothing_and_has_nothing_left(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        await world.disable(bob)
        assert not await world.sessions.open(new_session(bob), relied_on="stored")
        assert not await world.sessions.is_live(session_id)
        assert await fates(world, session_id, 0) == [Fate.DEAD]

    @told
    async def test_the_sessions_of_a_deleted_user_are_dead(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        await world.delete(bob)
        assert not await world.sessions.is_live(session_id)
        assert await fates(world, session_id, 0) == [Fate.DEAD]
        assert await world.sessions.of_user(bob) == []

    @told
    async def test_a_change_of_password_ends_all_and_continues_in_a_new_session(self, world: SessionWorld) -> None:
        bob, ann = await add_user(world), await add_user(world)
        old = [await open_session(world, bob) for _ in range(3)]
        hers = await open_session(world, ann)
        continued = new_session(bob)
        assert await world.sessions.change_password(continued, old="stored", stored="changed")
        assert [await world.sessions.is_live(session_id) for session_id in old] == [False, False, False]
        assert await world.sessions.is_live(continued.session_id)
        assert await world.sessions.is_live(hers)
        assert not await world.sessions.open(new_session(bob), relied_on="stored")
        assert await world.sessions.open(new_session(bob), relied_on="changed")
        assert await fates(world, continued.session_id, 0) == [Fate.ROTATED]

    @told
    async def test_a_change_of_password_is_no_login(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        await world.sessions.change_password(new_session(bob), old="stored", stored="changed")
        assert await world.jobs() == []

    @told
    async def test_a_change_from_a_password_that_no_longer_stands_changes_nothing(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        assert not await world.sessions.change_password(new_session(bob), old="older", stored="changed")
        assert not await world.sessions.change_password(new_session(uuid4()), old="stored", stored="changed")
        assert await world.sessions.is_live(session_id)
        assert await world.count() == 1
        assert await world.sessions.open(new_session(bob), relied_on="stored")


class RotationContract:
    """What a refresh promises (promises P5, P6, P7)."""

    def opened(self) -> AbstractAsyncContextManager[SessionWorld]:
        """A world without users."""
        raise NotImplementedError

    @told
    async def test_each_generation_is_rotated_once_and_in_order(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        for generation in range(5):
            rotation = await world.sessions.rotate(RefreshGrant(session_id, generation))
            assert rotation == Rotation(Fate.ROTATED, bob)

    @told
    async def test_a_repeat_within_the_grace_is_answered_and_changes_nothing(self, world: SessionWorld) -> None:
        """A lost answer never logs a client out (promise P7)."""
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        await fates(world, session_id, 0)
        await world.let_pass(5)
        before = await world.sessions.of_user(bob)
        assert await world.sessions.rotate(RefreshGrant(session_id, 0)) == Rotation(Fate.REPEATED, bob)
        assert await world.sessions.of_user(bob) == before
        assert await fates(world, session_id, 1) == [Fate.ROTATED]

    @told
    async def test_a_repeat_after_the_successor_was_used_is_reuse(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        assert await fates(world, session_id, 0, 1, 0, 2, 1, 0) == [
            Fate.ROTATED,
            Fate.ROTATED,
            Fate.REUSED,
            Fate.DEAD,
            Fate.DEAD,
            Fate.DEAD,
        ]
        assert not await world.sessions.is_live(session_id)
        assert await world.sessions.of_user(bob) == []

    @told
    async def test_a_repeat_after_the_grace_is_reuse(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        await fates(world, session_id, 0)
        await world.let_pass(LIFETIMES.reuse_grace_s + 1)
        assert await world.sessions.rotate(RefreshGrant(session_id, 0)) == Rotation(Fate.REUSED, bob)
        assert await fates(world, session_id, 1) == [Fate.DEAD]

    @told
    async def test_reuse_kills_its_own_session_only(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id, other = await open_session(world, bob), await open_session(world, bob)
        await fates(world, session_id, 0, 1, 0)
        assert await world.sessions.is_live(other)
        assert await fates(world, other, 0) == [Fate.ROTATED]

    @told
    async def test_an_unknown_session_is_dead(self, world: SessionWorld) -> None:
        assert await world.sessions.rotate(RefreshGrant(uuid4(), 0)) == Rotation(Fate.DEAD, None)

    @told
    async def test_a_generation_that_the_database_has_not_reached_is_dead_and_does_no_harm(
        self, world: SessionWorld
    ) -> None:
        """The database was restored from a backup older than the token."""
        session_id = await open_session(world, await add_user(world))
        assert await fates(world, session_id, 1, 7, 0) == [Fate.DEAD, Fate.DEAD, Fate.ROTATED]

    @told
    async def test_of_sixty_four_racing_refreshes_one_rotates_and_all_get_the_same_successor(
        self, world: SessionWorld
    ) -> None:
        """One live successor (promise P6)."""
        session_id = await open_session(world, await add_user(world))
        race = (world.sessions.rotate(RefreshGrant(session_id, 0)) for _ in range(64))
        assert Counter(rotation.fate for rotation in await asyncio.gather(*race)) == {Fate.ROTATED: 1, Fate.REPEATED: 63}
        assert await fates(world, session_id, 2, 1) == [Fate.DEAD, Fate.ROTATED]

    @told
    async def test_racing_reuse_is_told_once_and_leaves_nothing_live(self, world: SessionWorld) -> None:
        session_id = await open_session(world, await add_user(world))
        await fates(world, session_id, 0, 1)
        race = (world.sessions.rotate(RefreshGrant(session_id, 0)) for _ in range(32))
        assert Counter(rotation.fate for rotation in await asyncio.gather(*race)) == {Fate.REUSED: 1, Fate.DEAD: 31}
        assert not await world.sessions.is_live(session_id)


class SessionLifeContract:
    """How sessions are shown, and how they end."""

    def opened(self) -> AbstractAsyncContextManager[SessionWorld]:
        """A world without users."""
        raise NotImplementedError

    @told
    async def test_a_session_not_refreshed_expires(self, world: SessionWorld) -> None:
        session_id = await open_session(world, await add_user(world))
        await world.let_pass(LIFETIMES.idle_s - 100)
        assert await world.sessions.is_live(session_id)
        await world.let_pass(101)
        assert not await world.sessions.is_live(session_id)
        assert await fates(world, session_id, 0) == [Fate.DEAD]

    @told
    async def test_refreshing_keeps_a_session_alive_but_not_for_ever(self, world: SessionWorld) -> None:
        session_id = await open_session(world, await add_user(world))
        for generation in range(5):
            await world.let_pass(900)
            assert await fates(world, session_id, generation) == [Fate.ROTATED]
        await world.let_pass(LIFETIMES.absolute_s - 5 * 900 + 1)
        assert not await world.sessions.is_live(session_id)
        assert await fates(world, session_id, 5) == [Fate.DEAD]

    @told
    async def test_a_repeat_does_not_keep_a_session_alive(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        await fates(world, session_id, 0)
        (before,) = await world.sessions.of_user(bob)
        await fates(world, session_id, 0)
        assert await world.sessions.of_user(bob) == [before]

    @told
    async def test_a_user_sees_their_live_sessions_the_latest_used_first(self, world: SessionWorld) -> None:
        bob, ann = await add_user(world), await add_user(world)
        phone = new_session(bob, device="A phone 📱", address="2001:db8::1")
        await world.sessions.open(phone, relied_on="stored")
        await world.let_pass(10)
        laptop = await open_session(world, bob)
        await open_session(world, ann)
        revoked = await open_session(world, bob)
        await world.sessions.revoke(revoked)
        assert [view.session_id for view in await world.sessions.of_user(bob)] == [laptop, phone.session_id]
        await world.let_pass(10)
        await fates(world, phone.session_id, 0)
        first, second = await world.sessions.of_user(bob)
        assert (first.session_id, first.device, first.address) == (phone.session_id, "A phone 📱", "2001:db8::1")
        assert (second.session_id, second.device, second.address) == (laptop, None, None)
        assert first.created_at < second.created_at < first.last_used_at
        assert first.expires_at > second.expires_at > first.last_used_at
        assert first.created_at.utcoffset() == UTC.utcoffset(None)

    @told
    async def test_at_most_a_hundred_sessions_are_shown(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        oldest = await open_session(world, bob)
        await world.let_pass(1)
        await asyncio.gather(*(open_session(world, bob) for _ in range(100)))
        shown = [view.session_id for view in await world.sessions.of_user(bob)]
        assert len(shown) == 100
        assert oldest not in shown

    @told
    async def test_a_session_is_revoked_once(self, world: SessionWorld) -> None:
        session_id = await open_session(world, await add_user(world))
        assert await world.sessions.revoke(session_id)
        assert not await world.sessions.revoke(session_id)
        assert not await world.sessions.revoke(uuid4())
        assert not await world.sessions.is_live(session_id)
        assert await fates(world, session_id, 0) == [Fate.DEAD]

    @told
    async def test_nobody_revokes_the_session_of_another(self, world: SessionWorld) -> None:
        bob, ann = await add_user(world), await add_user(world)
        session_id = await open_session(world, bob)
        assert not await world.sessions.revoke(session_id, user_id=ann)
        assert await world.sessions.is_live(session_id)
        assert await world.sessions.revoke(session_id, user_id=bob)

    @told
    async def test_an_expired_session_is_not_there_to_be_revoked(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        session_id = await open_session(world, bob)
        await world.let_pass(LIFETIMES.idle_s + 1)
        assert not await world.sessions.revoke(session_id)
        assert await world.sessions.revoke_all(bob) == 0

    @told
    async def test_all_but_one_are_revoked_and_counted(self, world: SessionWorld) -> None:
        bob, ann = await add_user(world), await add_user(world)
        this, *others = [await open_session(world, bob) for _ in range(4)]
        hers = await open_session(world, ann)
        assert await world.sessions.revoke_all(bob, but=this) == 3
        assert [await world.sessions.is_live(session_id) for session_id in (this, hers, *others)] == [True] * 2 + [
            False
        ] * 3
        assert await world.sessions.revoke_all(bob) == 1
        assert await world.sessions.revoke_all(bob) == 0
        assert await world.sessions.is_live(hers)

    @told
    async def test_dead_sessions_are_removed_in_bounded_batches_and_live_ones_stay(self, world: SessionWorld) -> None:
        bob = await add_user(world)
        for _ in range(7):
            await open_session(world, bob)
        refreshed = await open_session(world, bob)
        await world.let_pass(LIFETIMES.idle_s - 1)
        await fates(world, refreshed, 0)
        await world.let_pass(101)
        young = await open_session(world, bob)
        looked_at: list[int] = []
        while not looked_at or looked_at[-1] == 3:
            looked_at.append(await world.sessions.remove_dead(dead_for_s=50, at_most=3))
        assert max(looked_at) <= 3
        assert await world.count() == 2
        assert await world.sessions.is_live(refreshed)
        assert await world.sessions.is_live(young)

    @told
    async def test_a_dead_session_is_kept_for_as_long_as_was_asked(self, world: SessionWorld) -> None:
        """Else a node that starts would not learn that its access tokens are revoked."""
        bob = await add_user(world)
        revoked, expired = await open_session(world, bob), await open_session(world, bob)
        await world.let_pass(LIFETIMES.idle_s - 10)
        await world.sessions.revoke(revoked)
        await world.let_pass(40)
        assert await world.sessions.remove_dead(dead_for_s=50, at_most=100) == 0
        assert await world.count() == 2
        await world.let_pass(25)
        await world.sessions.remove_dead(dead_for_s=50, at_most=100)
        assert await world.count() == 0
        assert not await world.sessions.is_live(expired)

    @told
    async def test_a_revoked_session_is_removed_long_before_it_would_have_expired(self, world: SessionWorld) -> None:
        session_id = await open_session(world, await add_user(world))
        await world.sessions.revoke(session_id)
        await world.let_pass(60)
        assert await world.sessions.remove_dead(dead_for_s=50, at_most=100) == 1
        assert await world.count() == 0
