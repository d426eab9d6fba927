"""Idempotency keys in PostgreSQL: taken by the transaction that has the effect, or not at all."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from tidegate.domain.errors import IdempotencyKeyReused, IdempotencyKeyTaken
from tidegate.domain.idempotency import KEPT_S, KeyedRequest
from tidegate.storage.connections import PrimaryConnection
from tidegate.storage.pools import PrimaryPool

_KEPT: Final = timedelta(seconds=KEPT_S)


class PostgresIdempotencyKeys:
    """`ports.idempotency.IdempotencyKeys` and `ports.idempotency.IdempotencyKeyRemoval`."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool

    async def made_by(self, request: KeyedRequest) -> UUID | None:
        """See `ports.idempotency.IdempotencyKeys.made_by`."""
        row = await self._pool.fetchrow("made_under_idempotency_key", request.key_mac, request.request_mac)
        if row is None:
            return None
        if not row["is_same"]:
            raise IdempotencyKeyReused
        made: UUID = row["made"]
        return made

    async def remove_expired(self, *, at_most: int) -> int:
        """See `ports.idempotency.IdempotencyKeyRemoval.remove_expired`."""
        row = await self._pool.fetchrow("remove_expired_idempotency_keys", at_most)
        return 0 if row is None else int(row[0])


async def take_key(work: PrimaryConnection, request: KeyedRequest, *, made: UUID) -> None:
    """Note in the transaction *work*, as the first thing in it, that *request* makes *made*.

    Raises:
        IdempotencyKeyTaken: A request with this key has taken effect before, maybe a moment ago while this waited for it.
    """
    if await work.fetchrow("take_idempotency_key", request.key_mac, request.request_mac, made, _KEPT) is None:
        raise IdempotencyKeyTaken
