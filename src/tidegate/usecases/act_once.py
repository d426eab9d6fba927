"""Lets a request with an idempotency key take effect once, however often and wherever it is sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from tidegate.domain.errors import Contended, IdempotencyKeyReused, Refusal
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.throttling import Counter
from tidegate.ports.idempotency import IdempotencyKeys
from tidegate.ports.throttling import Throttle


class Turns:
    """Lets who has the same key go one after the other in this process, so that a client's retries do not cost a hash each.

    Nothing relies on it: between processes and nodes the database decides.
    """

    def __init__(self) -> None:
        self._turns: dict[bytes, _Turn] = {}

    @asynccontextmanager
    async def of(self, key_mac: bytes) -> AsyncIterator[None]:
        """Wait until nobody else has *key_mac*."""
        turn = self._turns.setdefault(key_mac, _Turn())
        turn.takers += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.takers -= 1
            if not turn.takers:
                del self._turns[key_mac]

    @property
    def count(self) -> int:
        """How many keys are under way."""
        return len(self._turns)


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    takers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActOnce:
    """One request under a key.

    What makes it happen once is not here: the effect and its key are stored by one transaction, or neither is.

    Attributes:
        keys: Which requests took effect.
        throttle: Counts requests that do not fit their key: each may be a guess at what the first one said.
    """

    keys: IdempotencyKeys
    throttle: Throttle
    turns: Turns = field(default_factory=Turns)

    async def __call__(
        self, request: KeyedRequest, act: Callable[[], Awaitable[UUID]], *, counters: Sequence[Counter] = ()
    ) -> UUID:
        """Do what *request* asks for, unless it was done before, and return the id of what that made.

        Args:
            request: As it came.
            act: Stores the effect together with *request*, and returns the id of what it made.
            counters: Against which a request counts that does not fit its key; none if it was counted already.

        Raises:
            TooManyAttempts: Too many did not fit; nothing was looked at.
            IdempotencyKeyReused: Another request took effect under this key.
            Exception: Whatever *act* raises; nothing is kept of it, and the same request may succeed later.
        """
        async with self.turns.of(request.key_mac):
            made = await self._made_by(request, counters)
            if made is not None:
                return made
            try:
                return await act()
            except (Refusal, Contended):
                # Maybe the name is taken, or the password another, because the same request took effect on another node
                # since we looked: then what it made is the answer.
                made = await self._made_by(request, counters)
                if made is None:
                    raise
                return made

    async def _made_by(self, request: KeyedRequest, counters: Sequence[Counter]) -> UUID | None:
        self.throttle.check(counters)
        try:
            return await self.keys.made_by(request)
        except IdempotencyKeyReused:
            self.throttle.count(counters)
            raise
