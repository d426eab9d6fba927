"""Hash pools of a tiny profile, and hashes that last until a test lets them end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.passwords import SOMEBODY
from tidegate.domain.lanes import Lane
from tidegate.passwords.pool import HashPool
from tidegate.passwords.profiles import HashProfile
from tidegate.ports.passwords import Client

TINY = HashProfile("tiny", memory_cost_kib=8, time_cost=1)
PATIENCE_S = 30
"""How long a test waits for another thread before it fails; never how long it takes."""


def a_pool(
    *,
    profile: HashProfile = TINY,
    threads: int = 2,
    queue_max: int = 8,
    wait_s_max: float = 60,
    on_hashed: Callable[[float], None] = lambda _: None,
    on_refused: Callable[[Lane, str], None] = lambda _lane, _reason: None,
    on_shared: Callable[[Lane], None] = lambda _lane: None,
    client: Callable[[], Client | None] = lambda: None,
) -> HashPool:
    return HashPool(
        profile=profile,
        threads=threads,
        queue_max=queue_max,
        wait_s_max=wait_s_max,
        niceness=1,
        on_hashed=on_hashed,
        on_refused=on_refused,
        on_shared=on_shared,
        client=client,
    )


def told(story: Coroutine[Any, Any, None]) -> None:
    """Run *story*; one that hangs fails."""
    asyncio.run(asyncio.wait_for(story, PATIENCE_S))


@asynccontextmanager
async def closing(pool: HashPool) -> AsyncIterator[HashPool]:
    try:
        yield pool
    finally:
        await pool.aclose()


class Gate:
    """A stored hash that takes until it is opened, and counts who is at it."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._entered = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._inside = 0
        self.inside_max = 0
        self.passwords: list[bytes] = []
        self.answer: Callable[[], Any] = lambda: True

    def verify(self, password: bytes) -> Any:
        with self._lock:
            self.passwords.append(password)
            self._inside += 1
            self.inside_max = max(self.inside_max, self._inside)
        self._entered.release()
        assert self._opened.wait(PATIENCE_S)
        with self._lock:
            self._inside -= 1
        return self.answer()

    def open(self) -> None:
        self._opened.set()

    async def entered(self, times: int) -> None:
        """Wait until so many more threads have come to it."""
        for _ in range(times):
            assert await asyncio.to_thread(self._entered.acquire, timeout=PATIENCE_S)


def asks(pool: HashPool, password: str, *, lane: Lane = Lane.LOGIN) -> "asyncio.Task[bool]":
    """Somebody who wants *password* compared with what the gate stands for."""
    return asyncio.create_task(pool.matches(password, "any", user_id=SOMEBODY, lane=lane))


async def until(is_so: Callable[[], bool]) -> None:
    """Let tasks and threads run until *is_so*."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - it becomes so on a thread that tells nobody
            await asyncio.sleep(0)


async def all_submitted(pool: HashPool, taken: int) -> None:
    """Let tasks that were just made run until they wait for the pool."""
    await until(lambda: pool.running + pool.waiting >= taken)
