"""What one unbroken reading of the stream proves: the whole reasoning of a listener, without any input or output."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tidegate.domain.changes import Answer, Question

_MARKERS_MAX: Final = 512
"""Of messages consumed lately; relays write some twenty a second, and an answer is at most a second behind its message."""

_QUESTIONS_MAX: Final = 32
"""Unanswered ones that are remembered: ten seconds' worth. An older proof would prove nothing any more."""


class StreamBroken(Exception):  # noqa: N818 - it ends a reading, and is no error of ours
    """Messages may have been missed: this reading proves nothing more, and another has to begin."""


class Following:
    """One reading of the stream, from whichever message came first to wherever it breaks.

    Why an answer is proof. We send a question at t. A relay that has received it reads the changes that wait on the
    primary: whatever was acknowledged before t is committed, so it is either among them, or somebody has removed it from
    there. Nobody removes a change before the stream has acknowledged a message that tells of it (or of `has_lost`). The
    relay writes what it read into the stream as one message with a random marker, and answers our question with the marker
    only once the stream has acknowledged it. So everything acknowledged before t stands in the stream, in the message of
    that marker or before it. The stream numbers its messages without gaps, and we have seen each number since our reading
    began: once we have consumed the message of that marker, we have consumed everything from before t that was told since
    we began. What was told before we began, the listener has read from the primary afterwards (`feed.follower`).

    Why a wiped, replaced or restored stream is no danger. The marker must come by this very reading, whose numbers follow
    one another. A reading of a stream that was deleted is silent; one of a stream whose numbers jump is broken; one that
    does not show the marker of an answer within a second is broken too (`check`).

    Why late, doubled and lost answers are none. A proof counts from when its question was sent, never from when anything
    arrived; an answer that comes twice, or too late, proves what is known already.
    """

    def __init__(self, *, overdue_s: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin a reading.

        Args:
            overdue_s: How long after an answer its message may be on the way.
            monotonic: In seconds; tests hold it.
        """
        self._overdue_s = overdue_s
        self._monotonic = monotonic
        self._sequence: int | None = None
        self._numbers = 0
        self._asked: OrderedDict[int, float] = OrderedDict()
        self._consumed: OrderedDict[str, None] = OrderedDict()
        self._awaited: dict[str, tuple[float, float]] = {}
        """Markers of answers whose message has not come: when the question was sent, and when the answer came."""
        self._relay = ""

    @property
    def has_begun(self) -> bool:
        """Whether a message has come: from it on none is missed unknowingly."""
        return self._sequence is not None

    def question(self) -> Question:
        """The next question, to be sent at once: of whoever answered the one before, or of everybody if nobody did."""
        relay = "" if self._asked else self._relay
        self._numbers += 1
        self._asked[self._numbers] = self._monotonic()
        if len(self._asked) > _QUESTIONS_MAX:
            self._asked.popitem(last=False)
        return Question(self._numbers, relay)

    def consumed(self, sequence: int, marker: str) -> float | None:
        """Take note that the message *sequence* has been consumed.

        Returns:
            A moment: whatever was acknowledged before it has been consumed; None: nothing new is proven.

        Raises:
            StreamBroken: It does not follow the one before.
        """
        if self._sequence is not None and sequence != self._sequence + 1:
            raise StreamBroken
        self._sequence = sequence
        self._consumed[marker] = None
        if len(self._consumed) > _MARKERS_MAX:
            self._consumed.popitem(last=False)
        sent_at, _ = self._awaited.pop(marker, (None, None))
        return sent_at

    def answered(self, answer: Answer) -> float | None:
        """Take note of *answer*; returns as `consumed`."""
        sent_at = self._asked.get(answer.number)
        if sent_at is None:
            return None
        self._relay = answer.relay
        for number in [number for number in self._asked if number <= answer.number]:
            del self._asked[number]
        if answer.marker in self._consumed:
            return sent_at
        self._awaited[answer.marker] = sent_at, self._monotonic()
        return None

    def check(self) -> None:
        """See whether what was answered has come.

        Raises:
            StreamBroken: A message of which an answer told long ago has not: we read another stream than the relays write.
        """
        now = self._monotonic()
        if any(now - answered_at > self._overdue_s for _, answered_at in self._awaited.values()):
            raise StreamBroken
