"""Tells the nodes what is committed: takes changes from their table, writes them into the stream, answers who asks."""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from uuid import UUID

from tidegate.domain.changes import Answer, Change, ChangeKind, Question, Told

CHANGES_AT_ONCE_MAX: Final = 5_000
"""In one message: 200 KB, where a server takes 1 MB unless told otherwise."""

_QUESTIONS_MAX: Final = 10_000
"""That wait for the next look at the table; more are dropped, and asked again 0.3 s later."""

_CONDENSE_AFTER_S: Final = 60.0
"""So long the stream may be away before the changes that wait are replaced by the word that there were some: so their
table stays small, and whoever listens reads from the primary."""

_FAILURE_PAUSE_S: Final = 0.2


class WaitingChanges(Protocol):
    """The changes that no stream has acknowledged yet, on the primary."""

    async def read(self, *, at_most: int) -> Sequence[Change]:
        """Whatever is committed and was not removed, in one snapshot that is taken after this call.

        Raises:
            DatabaseUnavailable: It cannot be had, or what answers is no primary.
        """

    async def remove(self, changes: Sequence[Change]) -> None:
        """Remove *changes*, which were read last; none where another server is the primary since.

        Only once the stream has acknowledged a message that tells of them.
        """

    async def condense(self) -> None:
        """Put one change of kind `LOST` in the place of all that wait, in one transaction."""


class Teller(Protocol):
    """The way to the nodes."""

    async def tell(self, told: Told) -> None:
        """Write *told* into the stream; when this returns, the stream has acknowledged it.

        Raises:
            Exception: It has not, or nobody knows.
        """

    async def answer(self, reply_to: str, answer: Answer) -> None:
        """Send *answer* to whoever asked; it may be lost."""


class Relay:
    """One relay; any number may run beside each other, in the worker processes.

    No change is claimed: each relay tells whatever waits, and one that is told twice does no harm, for it says only that
    something has happened. So a relay that is killed or stopped holds nothing up. A change is removed only after the stream
    has acknowledged the message that tells of it: this is what `feed.following` rests on.

    Why a question has its answer from a later look: the questions are taken out of the list before the table is read.
    """

    def __init__(
        self,
        *,
        waiting: WaitingChanges,
        teller: Teller,
        on_failure: Callable[[Exception], None],
        on_done: Callable[[], None] = lambda: None,
        interval_s: float = 0.05,
        changes_at_once_max: int = CHANGES_AT_ONCE_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            waiting: Where changes wait.
            teller: The way to the nodes.
            on_failure: Told of every round that failed; it is tried again.
            on_done: Told of every round that did not.
            interval_s: Between two looks at the table: so much later a change is told at most.
            changes_at_once_max: In one message.
            monotonic: In seconds; tests hold it.
        """
        self.name: Final = secrets.token_hex(8)
        self._waiting = waiting
        self._teller = teller
        self._on_failure = on_failure
        self._on_done = on_done
        self._interval_s = interval_s
        self._changes_at_once_max = changes_at_once_max
        self._monotonic = monotonic
        self._questions: deque[tuple[int, str]] = deque(maxlen=_QUESTIONS_MAX)
        self._done_at = monotonic()

    def asked(self, question: Question, reply_to: str) -> None:
        """Take note of a question that has arrived; it is answered to *reply_to*."""
        if question.relay in ("", self.name):
            self._questions.append((question.number, reply_to))

    async def run(self) -> None:
        """Tell what changes until it is cancelled."""
        while True:
            try:
                is_more = await self.tell_waiting()
                self._done_at = self._monotonic()
                self._on_done()
            except Exception as failure:  # whatever it is: a relay that ends tells nothing any more
                self._on_failure(failure)
                await self._condense_if_due()
                await asyncio.sleep(_FAILURE_PAUSE_S)
            else:
                await asyncio.sleep(0 if is_more else self._interval_s)

    async def tell_waiting(self) -> bool:
        """Tell what waits now and answer who has asked; whether there is more.

        Raises:
            Exception: What the database or the queue ran into; nothing was removed that may not have been told.
        """
        questions = list(self._questions)
        self._questions.clear()
        changes = await self._waiting.read(at_most=self._changes_at_once_max)
        is_more = len(changes) >= self._changes_at_once_max
        if is_more:
            # Not everything has been read, so nobody can be answered; those who ask wait for a look that reaches the end.
            self._questions.extendleft(reversed(questions))
            questions = []
        if changes or questions:
            told = message_of(changes)
            await self._teller.tell(told)
            for number, reply_to in questions:
                await self._teller.answer(reply_to, Answer(number, told.marker, self.name))
        if changes:
            await self._waiting.remove(changes)
        return is_more

    async def _condense_if_due(self) -> None:
        if self._monotonic() - self._done_at < _CONDENSE_AFTER_S:
            return
        with contextlib.suppress(Exception):  # the database is away too
            await self._waiting.condense()
            self._done_at = self._monotonic()


def message_of(changes: Sequence[Change]) -> Told:
    """The message that tells of *changes*, under a marker that no other has."""
    kinds = {change.kind for change in changes}
    return Told(
        marker=secrets.token_hex(8),
        revoked=_subjects(changes, ChangeKind.SESSION_REVOKED),
        changed=_subjects(changes, ChangeKind.PROFILE_CHANGED),
        added=_subjects(changes, ChangeKind.USER_ADDED),
        added_many=ChangeKind.USERS_ADDED in kinds,
        # A kind that only a newer release knows cannot be told in our words; whoever does know it reads from the primary.
        has_lost=ChangeKind.LOST in kinds or not kinds <= set(ChangeKind),
    )


def _subjects(changes: Sequence[Change], kind: ChangeKind) -> tuple[UUID, ...]:
    return tuple(change.subject_id for change in changes if change.kind == kind and change.subject_id is not None)
