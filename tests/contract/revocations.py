"""What every feed of revocations promises, wherever it hears of them."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from tests.contract.sessions import SessionWorld, add_user, fates, new_session, open_session
from tests.contract.stories import told
from tidegate.ports.sessions import Revocations

PATIENCE_S = 1.0
"""`ports.sessions.Revocations` and DESIGN 5.4 promise it within this time."""


class RevocationWorld(SessionWorld, Protocol):
    """Sessions and the feed of their revocations."""

    @property
    def revocations(self) -> Revocations:
        """What is under test."""


async def becomes_revoked(world: RevocationWorld, session_id: UUID) -> bool:
    """Whether the feed says so within the time it promises."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await world.revocations.is_revoked(session_id, lives_s=0):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0)
    except TimeoutError:
        return False
    return True


class RevocationsContract:
    """What every Revocations promises."""

    def opened(self) -> AbstractAsyncContextManager[RevocationWorld]:
        """A world without users, and a feed that follows it."""
        raise NotImplementedError

    @told
    async def test_a_live_session_is_not_revoked(self, world: RevocationWorld) -> None:
        session_id = await open_session(world, await add_user(world))
        assert not await world.revocations.is_revoked(session_id, lives_s=0)
        await fates(world, session_id, 0, 0)
        assert not await world.revocations.is_revoked(session_id, lives_s=0)

    @told
    async def test_a_revoked_session_is_known_in_time_and_the_others_stay(self, world: RevocationWorld) -> None:
        bob = await add_user(world)
        revoked, other = await open_session(world, bob), await open_session(world, bob)
        await world.sessions.revoke(revoked)
        assert await becomes_revoked(world, revoked)
        assert not await world.revocations.is_revoked(other, lives_s=0)

    @told
    async def test_every_way_to_end_a_session_is_known(self, world: RevocationWorld) -> None:
        bob, ann, eve, dan = [await add_user(world) for _ in range(4)]
        reused, logged_out, changed, disabled, deleted = [
            await open_session(world, user_id) for user_id in (bob, bob, ann, eve, dan)
        ]
        await fates(world, reused, 0, 1, 0)
        await world.sessions.revoke_all(bob)
        await world.sessions.change_password(new_session(ann), old="stored", stored="changed")
        await world.disable(eve)
        await world.delete(dan)
        for session_id in (reused, logged_out, changed, disabled, deleted):
            assert await becomes_revoked(world, session_id)
