"""How an API process listens to the queue's stream: what it hears becomes knowledge."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from tidegate.domain.changes import Told
from tidegate.feed.knowledge import Knowledge

Recent = Callable[[float], Awaitable[Sequence[tuple[UUID, float]]]]
"""Reads from the primary which sessions were revoked within so many seconds, and how many seconds ago."""

_LOOK_S: Final = 0.05


class Hearing:
    """`feed.follower.Listener` for `Knowledge`."""

    def __init__(self, knowledge: Knowledge, *, recent: Recent, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nothing is read yet.

        Args:
            knowledge: What is heard goes there.
            recent: Asked at the beginning of a reading.
            monotonic: In seconds, the same as the knowledge's.
        """
        self._knowledge = knowledge
        self._recent = recent
        self._monotonic = monotonic

    async def begin(self) -> float:
        """See `Listener.begin`: reads the recent revocations, unless another line has meanwhile proven to know them."""
        began_at = self._monotonic()
        self._knowledge.begin()
        # When the queue comes back all processes begin at once: where LISTEN has stood in for it nobody asks the primary.
        while self._knowledge.is_trusted:  # which ends by itself, unless that line goes on to prove
            if self._knowledge.known_until >= began_at:
                return self._knowledge.known_until
            await asyncio.sleep(_LOOK_S)
        sent_at = self._monotonic()
        for session_id, age_s in await self._recent(self._knowledge.remembered_s):
            self._knowledge.revoked(session_id, age_s=age_s)
        return sent_at

    def hear(self, told: Told) -> None:
        """See `Listener.hear`."""
        for session_id in told.revoked:
            self._knowledge.revoked(session_id)
        for user_id in told.changed:
            self._knowledge.profile_changed(user_id)

    def prove(self, sent_at: float) -> None:
        """See `Listener.prove`."""
        self._knowledge.prove(sent_at)

    def rest(self) -> None:
        """See `Listener.rest`."""
        self._knowledge.forget()
