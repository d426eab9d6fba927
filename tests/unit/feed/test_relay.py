"""What a relay tells, what it answers, and what it removes."""

import asyncio
from uuid import uuid4

import pytest

from tests.fakes.knowledge import HandMonotonic
from tests.support.waiting import until_so
from tests.unit.feed.worlds import FakeTeller, FakeWaiting
from tidegate.domain.changes import Change, ChangeKind, Question
from tidegate.feed.relay import Relay, message_of


def relay_of(
    waiting: FakeWaiting, teller: FakeTeller, *, at_once_max: int = 100, monotonic: HandMonotonic | None = None
) -> Relay:
    return Relay(
        waiting=waiting,
        teller=teller,
        on_failure=lambda _: None,
        interval_s=0.0,
        changes_at_once_max=at_once_max,
        monotonic=monotonic or HandMonotonic(),
    )


def revoked(number: int) -> Change:
    return Change(number, ChangeKind.SESSION_REVOKED, uuid4())


def test_changes_are_told_in_one_message_by_their_kinds_and_then_removed() -> None:
    ended, renamed, new = uuid4(), uuid4(), uuid4()
    waiting, teller = (
        FakeWaiting(
            Change(2, ChangeKind.USER_ADDED, new),
            Change(1, ChangeKind.SESSION_REVOKED, ended),
            Change(3, ChangeKind.PROFILE_CHANGED, renamed),
            Change(4, ChangeKind.USERS_ADDED, None),
        ),
        FakeTeller(),
    )
    assert not asyncio.run(relay_of(waiting, teller).tell_waiting())
    (told,) = teller.told
    assert (told.revoked, told.changed, told.added) == ((ended,), (renamed,), (new,))
    assert told.added_many
    assert not told.has_lost
    assert waiting.changes == []


def test_nothing_is_told_where_nothing_waits_and_nobody_asks() -> None:
    waiting, teller = FakeWaiting(), FakeTeller()
    asyncio.run(relay_of(waiting, teller).tell_waiting())
    assert teller.happened == []


def test_who_asks_is_answered_with_the_marker_of_a_message_that_is_told_before() -> None:
    waiting, teller = FakeWaiting(), FakeTeller()
    relay = relay_of(waiting, teller)
    relay.asked(Question(7, ""), "here")
    relay.asked(Question(8, relay.name), "there")
    relay.asked(Question(9, "another relay"), "nowhere")
    asyncio.run(relay.tell_waiting())
    (told,) = teller.told
    assert teller.happened[0] is told
    assert [(to, answer.number, answer.marker, answer.relay) for to, answer in teller.answered] == [
        ("here", 7, told.marker, relay.name),
        ("there", 8, told.marker, relay.name),
    ]
    assert waiting.reads == 1, "several questions share one look"


def test_a_question_that_comes_while_the_table_is_read_waits_for_the_next_look() -> None:
    async def play() -> None:
        waiting, teller = FakeWaiting(revoked(1)), FakeTeller()
        relay = relay_of(waiting, teller)
        waiting.on_read = lambda: relay.asked(Question(1, ""), "here")
        await relay.tell_waiting()
        assert teller.answered == []
        waiting.on_read = lambda: None
        await relay.tell_waiting()
        assert len(teller.answered) == 1

    asyncio.run(play())


def test_nobody_is_answered_before_the_table_was_read_to_its_end() -> None:
    async def play() -> None:
        waiting, teller = FakeWaiting(*(revoked(number) for number in range(5))), FakeTeller()
        relay = relay_of(waiting, teller, at_once_max=2)
        relay.asked(Question(1, ""), "here")
        assert await relay.tell_waiting()
        assert await relay.tell_waiting()
        assert teller.answered == []
        assert not await relay.tell_waiting()
        assert [answer.marker for _, answer in teller.answered] == [teller.told[-1].marker]

    asyncio.run(play())


def test_what_could_not_be_told_waits_on_and_nobody_is_answered() -> None:
    async def play() -> None:
        waiting, teller = FakeWaiting(revoked(1)), FakeTeller()
        relay = relay_of(waiting, teller)
        relay.asked(Question(1, ""), "here")
        teller.is_away = True
        with pytest.raises(ConnectionError):
            await relay.tell_waiting()
        assert len(waiting.changes) == 1
        assert teller.happened == []

    asyncio.run(play())


def test_a_kind_of_a_newer_release_is_told_as_lost_so_that_listeners_read_from_the_primary() -> None:
    assert message_of([revoked(1), Change(2, "user_renamed", uuid4())]).has_lost
    assert message_of([Change(1, ChangeKind.LOST, None)]).has_lost
    assert not message_of([revoked(1)]).has_lost


def test_no_two_messages_have_the_same_marker() -> None:
    assert len({message_of([]).marker for _ in range(1_000)}) == 1_000


def test_a_relay_goes_on_after_every_failure_and_gives_way_to_the_word_lost_when_the_queue_stays_away() -> None:
    async def play() -> None:
        clock = HandMonotonic()
        waiting, teller = FakeWaiting(revoked(1)), FakeTeller()
        failures: list[Exception] = []
        relay = Relay(waiting=waiting, teller=teller, on_failure=failures.append, interval_s=0.0, monotonic=clock)
        teller.is_away = True
        running = asyncio.create_task(relay.run())
        try:
            await until_so(lambda: len(failures) > 1, "it does not try again")
            assert waiting.changes[0].kind == ChangeKind.SESSION_REVOKED
            clock.now += 61
            await until_so(lambda: waiting.changes[0].kind == ChangeKind.LOST, "the table only grows")
            teller.is_away = False
            await until_so(lambda: bool(teller.told), "nothing is told")
            assert teller.told[0].has_lost
        finally:
            running.cancel()

    asyncio.run(play())
