"""Lets many callers share one round trip: while one batch is under way to the database the next one gathers (DESIGN 5.3).

There is no timer. A call that comes while nothing is under way goes at once, and alone; under load a batch holds whatever
has come since the one before it left, up to a bound.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Final, Generic, TypeVar

BATCH_KEYS_MAX: Final = 256
"""From some hundred rows on, one more costs no less (STACK.md section 4)."""

READS_AT_ONCE_MAX: Final = 2
"""One gathers while the other is at the database; more would only be smaller."""

WRITES_AT_ONCE_MAX: Final = 2
"""Likewise: each is a commit, and a commit is a wait for the disk."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Coalescer(Generic[K, V]):
    """One statement that takes many keys, called with one key at a time; equal keys of one batch are asked once.

    A caller who is cancelled takes nothing from the others: the batch goes on.

    Args:
        run: Asks for all keys of a batch; what it finds by key. What it raises, every caller of the batch gets.
        keys_max: In one batch.
        batches_max: Under way at once.
    """

    def __init__(self, run: Callable[[list[K]], Awaitable[Mapping[K, V]]], *, keys_max: int, batches_max: int) -> None:
        self._run = run
        self._keys_max = keys_max
        self._batches_left = batches_max
        self._gathering: dict[K, list[asyncio.Future[V | None]]] = {}
        self._batches: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    async def __call__(self, key: K) -> V | None:
        """Return what is found for *key*, or None. Raises what the batch raised."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[V | None] = loop.create_future()
        self._gathering.setdefault(key, []).append(answer)
        if not self._is_leaving and self._batches_left:
            # Not now: whoever else calls in this turn of the event loop comes along.
            self._is_leaving = True
            loop.call_soon(self._leave)
        return await answer

    def _leave(self) -> None:
        self._is_leaving = False
        while self._batches_left and self._gathering:
            if len(self._gathering) <= self._keys_max:
                batch, self._gathering = self._gathering, {}
            else:
                batch = {key: self._gathering.pop(key) for key in list(self._gathering)[: self._keys_max]}
            self._batches_left -= 1
            task = asyncio.get_running_loop().create_task(self._serve(batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)

    async def _serve(self, batch: dict[K, list[asyncio.Future[V | None]]]) -> None:
        try:
            found = await self._run(list(batch))
        except BaseException as error:
            told = error if isinstance(error, Exception) else asyncio.CancelledError()
            for answers in batch.values():
                for answer in answers:
                    if not answer.done():
                        answer.set_exception(told)
            if not isinstance(error, Exception):
                raise
        else:
            for key, answers in batch.items():
                value = found.get(key)
                for answer in answers:
                    if not answer.done():
                        answer.set_result(value)
        finally:
            self._batches_left += 1
            self._leave()
