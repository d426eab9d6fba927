"""Removes expired idempotency keys in bounded batches, away from the hot path."""

from dataclasses import dataclass

from tidegate.ports.idempotency import IdempotencyKeyRemoval


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUpIdempotencyKeys:
    """One batch at a time.

    Attributes:
        at_most: How many keys one batch removes; it holds their rows for some milliseconds.
    """

    keys: IdempotencyKeyRemoval
    at_most: int = 1000

    async def __call__(self) -> bool:
        """Do one batch; True when there may be more to do at once."""
        return await self.keys.remove_expired(at_most=self.at_most) == self.at_most
