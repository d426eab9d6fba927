"""Idempotency keys in a dictionary: what `IdempotencyContract` promises, without a database."""

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from tidegate.domain.errors import IdempotencyKeyReused, IdempotencyKeyTaken
from tidegate.domain.idempotency import KEPT_S, KeyedRequest


class _Row(NamedTuple):
    request_mac: bytes
    made: UUID
    expires_at_s: float


class InMemoryIdempotencyKeys:
    """Implements `ports.idempotency.IdempotencyKeys` and `ports.idempotency.IdempotencyKeyRemoval`.

    Attributes:
        looked: How often a key was looked up.
        before_look: Called before each look; what another node might do meanwhile.
    """

    def __init__(self) -> None:
        self.looked = 0
        self.before_look: Callable[[int], None] = lambda _: None
        self._now_s = 0.0
        self._rows: dict[bytes, _Row] = {}

    async def made_by(self, request: KeyedRequest) -> UUID | None:
        self.looked += 1
        self.before_look(self.looked)
        row = self._live(request.key_mac)
        if row is None:
            return None
        if row.request_mac != request.request_mac:
            raise IdempotencyKeyReused
        return row.made

    async def remove_expired(self, *, at_most: int) -> int:
        expired = [key for key in self._rows if self._live(key) is None][:at_most]
        for key in expired:
            del self._rows[key]
        return len(expired)

    def refuse_if_taken(self, request: KeyedRequest | None) -> None:
        """What the transaction of an effect does first."""
        if request is not None and self._live(request.key_mac) is not None:
            raise IdempotencyKeyTaken

    def take(self, request: KeyedRequest | None, made: UUID) -> None:
        """What is true of the key once the effect is."""
        if request is not None:
            self._rows[request.key_mac] = _Row(request.request_mac, made, self._now_s + KEPT_S)

    def let_pass(self, seconds: float) -> None:
        """Let every key grow older."""
        self._now_s += seconds

    @property
    def count(self) -> int:
        """How many keys are stored, expired or not."""
        return len(self._rows)

    def _live(self, key_mac: bytes) -> _Row | None:
        row = self._rows.get(key_mac)
        return row if row is not None and row.expires_at_s > self._now_s else None
