"""The crowd of a campaign: 64 clients who let whoever may come log in for the first time, again where no answer came.

They come when they are let in, for a cap of some hundreds would be reached before the first fault is there; and who has
logged in logs in again now and then, for a second login must change nothing.
"""

import asyncio
import contextlib
import random
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tests.faults.crowds import PATIENCE_S, Crowd, Wires
from tests.faults.history import Recorder

CLIENTS: Final = 64

PASSWORD: Final = "correct horse of everybody"

_TRIES_MAX: Final = 200
"""Of one user's first login: it ends when it was acknowledged, however long everything is away."""

_ENDED_WITHIN_S: Final = 2 * PATIENCE_S

_PAUSE_S: Final = (0.05, 0.4)
_AGAIN_PAUSE_S: Final = (0.3, 1.5)
_BOTH_SHARE: Final = 0.1
"""Of first logins, that are sent to both nodes at once."""


class FirstLogins:
    """A thread with the clients' event loop; all else is called from other threads."""

    def __init__(self, recorder: Recorder, ports: Mapping[str, int], usernames: Sequence[str], seed: int) -> None:
        """Nothing happens before `coming`.

        Args:
            recorder: For every call.
            ports: Of the nodes, by name.
            usernames: Who may come, in this order.
            seed: Of what is left to chance.
        """
        self._recorder = recorder
        self._ports = ports
        self._waiting = deque(usernames)
        self._chance = random.Random(f"first logins {seed}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="first logins", daemon=True)
        self._let_in: asyncio.Queue[str] = asyncio.Queue()
        self._known: list[str] = []
        self._under_way = 0
        self._is_flood = False
        self._is_over = False

    @contextlib.contextmanager
    def coming(self) -> Iterator["FirstLogins"]:
        """Let the clients be there in the block."""
        self._thread.start()
        working = asyncio.run_coroutine_threadsafe(self._work(), self._loop)
        try:
            yield self
        finally:
            self._is_over = True
            working.result(_ENDED_WITHIN_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_ENDED_WITHIN_S)
            self._loop.close()

    def take(self, count: int) -> list[str]:
        """Who would come next, and will not: whoever asks lets them log in."""
        return [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]

    def let_in(self, count: int, over_s: float) -> None:
        """Let the next *count* come, spread over so many seconds from now on."""
        asyncio.run_coroutine_threadsafe(self._trickle(self.take(count), over_s), self._loop)

    def flood(self) -> None:
        """From now on let everybody come as fast as the clients can."""
        self._loop.call_soon_threadsafe(self._begin_flood)

    def await_none_under_way(self, within_s: float) -> None:
        """Wait until all who were let in have been answered, or for so long."""
        waiting = asyncio.run_coroutine_threadsafe(self._none_under_way(), self._loop)
        with contextlib.suppress(TimeoutError):
            waiting.result(within_s)
        waiting.cancel()

    @property
    def acknowledged(self) -> int:
        """How many have logged in."""
        return len(self._known)

    def _begin_flood(self) -> None:
        self._is_flood = True

    async def _none_under_way(self) -> None:
        while self._under_way:  # noqa: ASYNC110 - what is waited for is many things
            await asyncio.sleep(0.02)

    async def _trickle(self, usernames: Sequence[str], over_s: float) -> None:
        self._under_way += len(usernames)
        for username in usernames:
            self._let_in.put_nowait(username)
            await asyncio.sleep(over_s / len(usernames))

    async def _work(self) -> None:
        wires = Wires(self._ports)
        crowd = Crowd(self._recorder, wires, PASSWORD)
        try:
            async with asyncio.TaskGroup() as clients:
                for _ in range(CLIENTS):
                    clients.create_task(self._client(crowd))
        finally:
            wires.close()

    async def _client(self, crowd: Crowd) -> None:
        while not self._is_over:
            username = await self._next()
            if username is None:
                if self._known:
                    await crowd.log_in(self._node(), self._chance.choice(self._known))
                await asyncio.sleep(self._chance.uniform(*_AGAIN_PAUSE_S))
                continue
            await self._first_login(crowd, username)
            self._under_way -= 1

    async def _next(self) -> str | None:
        with contextlib.suppress(asyncio.QueueEmpty):
            return self._let_in.get_nowait()
        if self._is_flood and self._waiting:
            self._under_way += 1
            return self._waiting.popleft()
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._let_in.get(), self._chance.uniform(*_AGAIN_PAUSE_S))
        return None

    async def _first_login(self, crowd: Crowd, username: str) -> None:
        for _ in range(_TRIES_MAX):
            nodes = sorted(self._ports) if self._chance.random() < _BOTH_SHARE else [self._node()]
            answers = await asyncio.gather(*(crowd.log_in(node, username) for node in nodes))
            if any(answer is not None for answer in answers):
                self._known.append(username)
                return
            if self._is_over:
                return
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S))

    def _node(self) -> str:
        return self._chance.choice(sorted(self._ports))
