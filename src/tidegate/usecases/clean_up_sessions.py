"""Removes dead sessions in bounded batches, away from the hot path."""

from dataclasses import dataclass

from tidegate.ports.sessions import SessionRemoval


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUpSessions:
    """One batch at a time.

    Attributes:
        dead_for_s: How long a dead session is kept: at least as long as an access token may outlive it, because a node that
            starts reads the revocations it must know from the rows.
        at_most: How many sessions one batch looks at; it holds their rows for some milliseconds.
    """

    sessions: SessionRemoval
    dead_for_s: float
    at_most: int = 1000

    async def __call__(self) -> bool:
        """Do one batch; True when there may be more to do at once."""
        return await self.sessions.remove_dead(dead_for_s=self.dead_for_s, at_most=self.at_most) == self.at_most
