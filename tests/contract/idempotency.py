"""What every store of users, sessions and idempotency keys promises of effects that are to happen once."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import uuid4

import pytest

from tests.contract.sessions import SessionWorld, add_user, new_session, open_session
from tests.contract.stories import told
from tests.contract.users import new_user
from tidegate.domain.errors import IdempotencyKeyReused, IdempotencyKeyTaken, IdentifierTaken
from tidegate.domain.idempotency import KEPT_S, KeyedRequest
from tidegate.domain.users import IdentifierKind, LoginIdentifier
from tidegate.ports.idempotency import IdempotencyKeyRemoval, IdempotencyKeys

RACERS = 40
FIRST = KeyedRequest(b"key one", b"request one")
OTHER_REQUEST = KeyedRequest(b"key one", b"request two")
SECOND = KeyedRequest(b"key two", b"request one")


class KeyStore(IdempotencyKeys, IdempotencyKeyRemoval, Protocol):
    """Keys and their end."""


class IdempotencyWorld(SessionWorld, Protocol):
    """Users and sessions, and the keys under which they came to be."""

    @property
    def keys(self) -> KeyStore:
        """What is under test."""

    async def let_keys_age(self, seconds: float) -> None:
        """Make every key as much older, as if the time had passed."""

    async def count_keys(self) -> int:
        """How many keys are stored, expired or not."""


class IdempotencyContract:
    """An effect and its key are stored together or not at all, and a key has one effect while it lives."""

    def opened(self) -> AbstractAsyncContextManager[IdempotencyWorld]:
        """A world without users."""
        raise NotImplementedError

    @told
    async def test_what_was_made_is_known_by_its_request_and_by_no_other(self, world: IdempotencyWorld) -> None:
        assert await world.keys.made_by(FIRST) is None
        bob = new_user(username="bob")
        await world.users.add(bob, once=FIRST)
        assert await world.keys.made_by(FIRST) == bob.user_id
        assert await world.keys.made_by(SECOND) is None
        with pytest.raises(IdempotencyKeyReused):
            await world.keys.made_by(OTHER_REQUEST)

    @told
    async def test_a_user_without_a_key_leaves_none(self, world: IdempotencyWorld) -> None:
        await world.users.add(new_user(username="bob"))
        assert await world.count_keys() == 0

    @told
    async def test_a_key_that_is_taken_adds_nobody_whatever_is_asked_for_with_it(self, world: IdempotencyWorld) -> None:
        bob = new_user(username="bob")
        await world.users.add(bob, once=FIRST)
        for request in (FIRST, OTHER_REQUEST):
            for name in ("bob", "ann"):
                with pytest.raises(IdempotencyKeyTaken):
                    await world.users.add(new_user(username=name), once=request)
        assert await world.users.find(LoginIdentifier(IdentifierKind.USERNAME, "ann")) is None
        assert await world.keys.made_by(FIRST) == bob.user_id

    @told
    async def test_a_user_who_is_refused_does_not_take_the_key(self, world: IdempotencyWorld) -> None:
        await world.users.add(new_user(username="bob"))
        with pytest.raises(IdentifierTaken):
            await world.users.add(new_user(username="bob"), once=FIRST)
        assert await world.count_keys() == 0
        ann = new_user(username="ann")
        await world.users.add(ann, once=FIRST)
        assert await world.keys.made_by(FIRST) == ann.user_id

    @told
    async def test_of_racing_requests_with_one_key_one_takes_effect(self, world: IdempotencyWorld) -> None:
        """Whether they want one name, as retries do, or each another."""
        for request, names in ((FIRST, ["bob"]), (SECOND, [f"ann-{number}" for number in range(RACERS)])):
            users = [new_user(username=names[number % len(names)]) for number in range(RACERS)]
            outcomes = await asyncio.gather(
                *(world.users.add(user, once=request) for user in users), return_exceptions=True
            )
            assert outcomes.count(None) == 1
            assert sum(isinstance(outcome, IdempotencyKeyTaken) for outcome in outcomes) == RACERS - 1
            winner = users[outcomes.index(None)]
            assert await world.keys.made_by(request) == winner.user_id
            assert await world.users.credentials(winner.user_id) is not None

    @told
    async def test_a_change_of_password_takes_its_key(self, world: IdempotencyWorld) -> None:
        bob = await add_user(world)
        session = new_session(bob)
        assert await world.sessions.change_password(session, old="stored", stored="changed", once=FIRST)
        assert await world.keys.made_by(FIRST) == session.session_id
        with pytest.raises(IdempotencyKeyTaken):
            await world.sessions.change_password(new_session(bob), old="changed", stored="again", once=FIRST)
        assert await world.sessions.is_live(session.session_id)
        assert await world.sessions.open(new_session(bob), relied_on="changed")

    @told
    async def test_a_change_that_does_not_happen_does_not_take_the_key(self, world: IdempotencyWorld) -> None:
        bob = await add_user(world)
        before = await open_session(world, bob)
        assert not await world.sessions.change_password(new_session(bob), old="older", stored="changed", once=FIRST)
        assert await world.count_keys() == 0
        assert await world.sessions.is_live(before)
        assert await world.sessions.change_password(new_session(bob), old="stored", stored="changed", once=FIRST)

    @told
    async def test_of_racing_changes_with_one_key_one_takes_effect(self, world: IdempotencyWorld) -> None:
        bob = await add_user(world)
        sessions = [new_session(bob) for _ in range(RACERS)]
        outcomes = await asyncio.gather(
            *(world.sessions.change_password(each, old="stored", stored="changed", once=FIRST) for each in sessions),
            return_exceptions=True,
        )
        assert outcomes.count(True) == 1
        assert sum(isinstance(outcome, IdempotencyKeyTaken) for outcome in outcomes) == RACERS - 1
        assert await world.keys.made_by(FIRST) == sessions[outcomes.index(True)].session_id

    @told
    async def test_after_a_day_a_key_is_free_whether_it_was_removed_or_not(self, world: IdempotencyWorld) -> None:
        await world.users.add(new_user(username="bob"), once=FIRST)
        await world.let_keys_age(KEPT_S - 60)
        assert await world.keys.made_by(FIRST) is not None
        assert await world.keys.remove_expired(at_most=10) == 0
        await world.let_keys_age(61)
        assert await world.keys.made_by(FIRST) is None
        assert await world.keys.made_by(OTHER_REQUEST) is None
        ann = new_user(username="ann")
        await world.users.add(ann, once=OTHER_REQUEST)
        assert await world.keys.made_by(OTHER_REQUEST) == ann.user_id
        assert await world.keys.remove_expired(at_most=10) == 0

    @told
    async def test_expired_keys_are_removed_in_bounded_batches(self, world: IdempotencyWorld) -> None:
        for number in range(5):
            await world.users.add(new_user(username=f"old-{uuid4()}"), once=KeyedRequest(b"old %d" % number, b"request"))
        await world.let_keys_age(KEPT_S + 1)
        await world.users.add(new_user(username="bob"), once=FIRST)
        assert [await world.keys.remove_expired(at_most=2) for _ in range(4)] == [2, 2, 1, 0]
        assert await world.count_keys() == 1
        assert await world.keys.made_by(FIRST) is not None
