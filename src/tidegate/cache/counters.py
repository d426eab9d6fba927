"""Counts together with the other nodes, in Valkey."""

from collections.abc import Sequence
from contextlib import suppress

from tidegate.cache import keys
from tidegate.cache.client import CacheClient
from tidegate.cache.connection import CacheAway, Reply
from tidegate.ports.throttling import Increment


class ValkeyCounters:
    """`ports.throttling.SharedCounters`: a number a bucket, and whatever goes wrong is as if nobody were there."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client

    @property
    def is_up(self) -> bool:
        """See `ports.throttling.SharedCounters.is_up`."""
        return self._client.is_up

    async def read(self, buckets: Sequence[bytes]) -> Sequence[int] | None:
        """See `ports.throttling.SharedCounters.read`."""
        if not buckets:
            return []
        try:
            found = await self._client.ask(b"MGET", *map(keys.attempts, buckets))
        except CacheAway:
            return None
        if not isinstance(found, list) or len(found) != len(buckets):
            return None
        return [0 if each is None else _number(each) for each in found]

    async def add(self, increments: Sequence[Increment]) -> Sequence[int] | None:
        """See `ports.throttling.SharedCounters.add`."""
        try:
            answers = []
            for bucket, by, lives_s in increments:
                key = keys.attempts(bucket)
                answers.append(self._client.ask(b"INCRBY", key, by))
                self._client.tell(b"EXPIRE", key, lives_s)
            return [_number(await answer) for answer in answers]
        except CacheAway:
            return None

    def clear(self, buckets: Sequence[bytes]) -> None:
        """See `ports.throttling.SharedCounters.clear`."""
        with suppress(CacheAway):
            self._client.tell(b"DEL", *map(keys.attempts, buckets))


def _number(reply: Reply) -> int:
    if isinstance(reply, int):
        return reply
    return int(reply) if isinstance(reply, bytes) and reply.isdigit() else 0
