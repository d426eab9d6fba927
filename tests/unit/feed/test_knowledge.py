"""What is not known to be revoked is not revoked, for as long as that is proven."""

import asyncio
from uuid import uuid4

import pytest

from tests.fakes.knowledge import FakePrimary, HandMonotonic, Watcher
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.feed.knowledge import FORGET_MARGIN_S, Knowledge

TTL_S = 300.0


def knowing(primary: FakePrimary, clock: HandMonotonic) -> Knowledge:
    return Knowledge(primary=primary, access_token_ttl_s_max=TTL_S, trusted_s=0.8, monotonic=clock)


def test_what_is_proven_counts_for_less_than_a_second_and_then_the_primary_is_asked() -> None:
    async def ask() -> None:
        clock, live = HandMonotonic(), uuid4()
        primary = FakePrimary(live)
        knowledge = knowing(primary, clock)
        assert await knowledge.is_revoked(uuid4()), "before the first proof the primary is asked"
        assert primary.asked == 1
        knowledge.prove(clock.now - 0.5)
        assert not await knowledge.is_revoked(uuid4())
        assert primary.asked == 1
        clock.now += 0.4
        assert not knowledge.is_trusted
        assert await knowledge.is_revoked(uuid4())
        assert not await knowledge.is_revoked(live)
        primary.is_away = True
        with pytest.raises(DatabaseUnavailable):
            await knowledge.is_revoked(live)

    asyncio.run(ask())


def test_the_latest_proof_of_any_line_counts_and_an_older_one_takes_nothing_away() -> None:
    clock = HandMonotonic()
    knowledge = knowing(FakePrimary(), clock)
    knowledge.prove(clock.now)
    knowledge.prove(clock.now - 5)
    assert knowledge.is_trusted
    assert knowledge.age_s == 0.0


def test_what_is_known_to_be_revoked_needs_no_proof() -> None:
    async def ask() -> None:
        primary, session_id = FakePrimary(), uuid4()
        primary.is_away = True
        knowledge = knowing(primary, HandMonotonic())
        knowledge.revoked(session_id)
        assert await knowledge.is_revoked(session_id)

    asyncio.run(ask())


def test_revocations_are_forgotten_when_no_access_token_can_be_left() -> None:
    clock = HandMonotonic()
    knowledge = knowing(FakePrimary(), clock)
    old, recent = uuid4(), uuid4()
    knowledge.revoked(old, age_s=TTL_S)
    knowledge.revoked(recent)
    knowledge.revoked(old)  # heard by a second line
    clock.now += FORGET_MARGIN_S - 1
    knowledge.forget()
    assert knowledge.remembered == 2
    clock.now += 2
    knowledge.forget()
    assert knowledge.remembered == 1


def test_of_a_token_that_outlives_what_is_remembered_the_primary_is_asked() -> None:
    """It was issued before the setting was lowered, or by a node where it is not yet."""

    async def ask() -> None:
        clock, revoked, live = HandMonotonic(), uuid4(), uuid4()
        primary = FakePrimary(live)
        knowledge = knowing(primary, clock)
        knowledge.revoked(revoked)
        clock.now += TTL_S + FORGET_MARGIN_S + 1
        knowledge.forget()
        knowledge.prove(clock.now)
        assert not await knowledge.is_revoked(revoked, lives_s=TTL_S), "no such token is valid any more"
        assert primary.asked == 0
        assert await knowledge.is_revoked(revoked, lives_s=TTL_S + 1)
        assert not await knowledge.is_revoked(live, lives_s=TTL_S + 1)

    asyncio.run(ask())


def test_watchers_hear_of_changes_and_of_every_line_that_begins() -> None:
    knowledge, watcher, bob = knowing(FakePrimary(), HandMonotonic()), Watcher(), uuid4()
    knowledge.tell(watcher)
    knowledge.begin()
    knowledge.profile_changed(bob)
    knowledge.begin()
    assert watcher.told == ["interrupted", bob, "interrupted"]
