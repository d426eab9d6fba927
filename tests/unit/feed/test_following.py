"""What a reading of the stream proves, and what it does not."""

import pytest

from tests.fakes.knowledge import HandMonotonic
from tidegate.domain.changes import Answer
from tidegate.feed.following import Following, StreamBroken


@pytest.fixture
def clock() -> HandMonotonic:
    return HandMonotonic()


@pytest.fixture
def following(clock: HandMonotonic) -> Following:
    return Following(monotonic=clock)


def test_a_proof_counts_from_the_sending_of_the_question(following: Following, clock: HandMonotonic) -> None:
    number = following.question().number
    clock.now += 0.4
    assert following.consumed(7, "seven") is None
    assert following.answered(Answer(number, "seven", "r")) == 1_000.0


def test_an_answer_alone_proves_nothing_until_its_message_is_consumed(following: Following, clock: HandMonotonic) -> None:
    number = following.question().number
    following.consumed(7, "seven")
    assert following.answered(Answer(number, "nine", "r")) is None
    clock.now += 0.2
    assert following.consumed(8, "eight") is None
    assert following.consumed(9, "nine") == 1_000.0


@pytest.mark.parametrize("sequence", [5, 6, 7, 9, 1])
def test_a_number_that_does_not_follow_breaks_the_reading(following: Following, sequence: int) -> None:
    following.consumed(6, "six")
    following.consumed(7, "seven")
    with pytest.raises(StreamBroken):
        following.consumed(sequence, "other")


def test_an_answer_that_comes_twice_or_to_nobodys_question_proves_nothing_new(following: Following) -> None:
    number = following.question().number
    following.consumed(1, "one")
    assert following.answered(Answer(number + 1, "one", "r")) is None
    assert following.answered(Answer(number, "one", "r")) == 1_000.0
    assert following.answered(Answer(number, "one", "r")) is None


def test_a_late_answer_proves_what_it_did_when_it_was_asked_for(following: Following, clock: HandMonotonic) -> None:
    """Of a relay that was stopped for a minute."""
    first = following.question().number
    clock.now += 60
    second = following.question().number
    following.consumed(1, "one")
    assert following.answered(Answer(first, "one", "r")) == 1_000.0
    assert following.answered(Answer(second, "one", "r")) == 1_060.0


def test_a_message_of_which_an_answer_told_and_that_does_not_come_breaks_the_reading(
    following: Following, clock: HandMonotonic
) -> None:
    """The relays write another stream than we read: it was wiped and made anew."""
    following.answered(Answer(following.question().number, "never", "r"))
    clock.now += 0.9
    following.check()
    clock.now += 0.2
    with pytest.raises(StreamBroken):
        following.check()


def test_silence_does_not_break_the_reading(following: Following, clock: HandMonotonic) -> None:
    """While no relay answers nothing is proven, and nothing is missed either."""
    following.consumed(1, "one")
    following.question()
    clock.now += 3_600
    following.check()
    assert following.consumed(2, "two") is None


def test_whoever_answered_is_asked_again_and_everybody_if_it_does_not(following: Following) -> None:
    first = following.question()
    assert first.relay == ""
    following.answered(Answer(first.number, "one", "r"))
    second = following.question()
    assert second.relay == "r"
    assert following.question().relay == ""


def test_questions_and_markers_are_not_remembered_for_ever(following: Following) -> None:
    first = following.question().number
    for _ in range(100):
        following.question()
    following.consumed(1, "one")
    assert following.answered(Answer(first, "one", "r")) is None
    last = following.question().number
    for sequence in range(2, 2_000):
        following.consumed(sequence, str(sequence))
    assert following.answered(Answer(last, "one", "r")) is None
