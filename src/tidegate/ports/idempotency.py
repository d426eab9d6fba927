"""Which requests took effect under an idempotency key."""

from typing import Protocol
from uuid import UUID

from tidegate.domain.idempotency import KeyedRequest


class IdempotencyKeys(Protocol):
    """Knows which requests took effect under an idempotency key within the last `KEPT_S`, as fresh as the primary.

    It takes no key: whoever stores the effect does, in the same transaction (`once` of `UserWriter.add`).
    """

    async def made_by(self, request: KeyedRequest) -> UUID | None:
        """The id of what *request* made when it took effect; None: no request with its key did.

        Raises:
            IdempotencyKeyReused: Another request took effect under its key.
        """


class IdempotencyKeyRemoval(Protocol):
    """Removes the keys that mean nothing any more."""

    async def remove_expired(self, *, at_most: int) -> int:
        """Remove expired keys and return how many; fewer than *at_most* means that there are no more."""
