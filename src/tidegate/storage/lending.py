"""Connections that are held open, lent for one statement or one transaction, and replaced when in doubt.

Not asyncpg.Pool: that asks the server to reset the connection after each use, which costs three times as much as the
statement itself (STACK.md section 4).
"""

import asyncio
import contextlib
import random
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Generic, TypeVar

from tidegate.storage.connections import NamedStatements
from tidegate.storage.failures import unavailable

_RECONNECT_PAUSE_S_MIN: Final = 0.05
_RECONNECT_PAUSE_S_MAX: Final = 1.0
"""Between attempts, doubling, each drawn from its half to its whole, so that the nodes do not come back in step."""

_CLOSE_TIMEOUT_S: Final = 1.0

C = TypeVar("C", bound=NamedStatements)


class LendingPool(ABC, Generic[C]):
    """A fixed number of connections to one kind of server; what may be done with them, each kind says for itself.

    The one used last is lent first: its backend's memory is warm. A connection on which a call was cancelled, timed out or
    broke off is ended and replaced, never lent again: nobody can read the answer to another's question.
    """

    def __init__(
        self,
        *,
        dsn: str,
        size: int,
        acquire_timeout_s: float,
        statement_timeout_s: float,
        connect_timeout_s: float,
        waiting_max: int = 1024,
    ) -> None:
        """Nothing is connected before `open`.

        Args:
            dsn: As libpq reads it.
            size: How many connections; 8 serve a process as well as 32 do (STACK.md section 4).
            acquire_timeout_s: How long a call waits for a connection to be free.
            statement_timeout_s: How long one statement may take.
            connect_timeout_s: How long opening one connection may take.
            waiting_max: How many calls may wait for a connection; the next is refused at once.
        """
        self._dsn = dsn
        self._size = size
        self._acquire_timeout_s = acquire_timeout_s
        self._statement_timeout_s = statement_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._waiting_max = waiting_max
        self._held: set[C] = set()
        self._free: list[C] = []
        self._waiting: deque[asyncio.Future[C]] = deque()
        self._mending: set[asyncio.Task[None]] = set()
        self._is_away = False
        self._is_open = False

    @abstractmethod
    async def _connected(self) -> C:
        """Open one connection.

        Raises:
            DatabaseUnavailable: It cannot be had now.
        """

    async def open(self) -> None:
        """Open all connections.

        Raises:
            DatabaseUnavailable: One of them cannot be opened; none stays open.
        """
        self._is_open = True
        opened = await asyncio.gather(*(self._connect() for _ in range(self._size)), return_exceptions=True)
        failed: BaseException | None = None
        for outcome in opened:
            if isinstance(outcome, BaseException):
                failed = failed or outcome
            else:
                self._hand_on(outcome)
        if failed is not None:
            await self.aclose()
            raise failed

    def open_later(self) -> None:
        """Begin to open the connections; until one is there, calls are refused at once."""
        self._is_open = self._is_away = True
        for _ in range(self._size):
            self._begin_to_mend()

    async def aclose(self) -> None:
        """End all connections; what is still under way on one breaks off."""
        self._is_open = False
        for task in self._mending:
            task.cancel()
        self._fail_waiting()
        free, self._free = self._free, []
        for busy in self._held.difference(free):
            busy.terminate()
        await asyncio.gather(*(connection.close(timeout_s=_CLOSE_TIMEOUT_S) for connection in free))
        await asyncio.gather(*self._mending, return_exceptions=True)
        self._held.clear()

    @property
    def opened(self) -> int:
        """How many connections there are now: fewer than wished for while lost ones are replaced."""
        return len(self._held)

    @property
    def in_use(self) -> int:
        """How many connections are lent."""
        return len(self._held) - len(self._free)

    @property
    def waiting(self) -> int:
        """How many calls wait for a connection."""
        return len(self._waiting)

    async def _wait(self) -> C:
        if not self._is_open or (self._is_away and not self._held) or len(self._waiting) >= self._waiting_max:
            raise unavailable()
        loop = asyncio.get_running_loop()
        place: asyncio.Future[C] = loop.create_future()
        self._waiting.append(place)
        timer = loop.call_later(self._acquire_timeout_s, _refuse, place)
        try:
            return await place
        except BaseException:
            with contextlib.suppress(ValueError):
                self._waiting.remove(place)
            if place.done() and not place.cancelled() and place.exception() is None:
                # Cancelled in the moment between being given a connection and taking it.
                self._give_back(place.result())
            raise
        finally:
            timer.cancel()

    def _give_back(self, lent: C) -> None:
        if lent.is_usable:
            self._hand_on(lent)
        else:
            lent.terminate()

    def _hand_on(self, connection: C) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(connection)
                return
        self._free.append(connection)

    def _fail_waiting(self) -> None:
        for place in self._waiting:
            _refuse(place)
        self._waiting.clear()

    async def _connect(self) -> C:
        connection = await self._connected()
        self._held.add(connection)
        connection.on_end(lambda: self._forget(connection))
        return connection

    def _forget(self, ended: C) -> None:
        """Begin to replace a connection; called by its end, whatever caused it."""
        self._held.discard(ended)
        with contextlib.suppress(ValueError):
            self._free.remove(ended)
        if self._is_open:
            self._begin_to_mend()

    def _begin_to_mend(self) -> None:
        task = asyncio.get_running_loop().create_task(self._mend())
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)

    async def _mend(self) -> None:
        pause_s = _RECONNECT_PAUSE_S_MIN
        while True:
            try:
                connection = await self._connect()
            except Exception:  # whatever it is: who gives up here makes the pool smaller for ever
                self._is_away = True
                if not self._held:
                    self._fail_waiting()
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
                pause_s = min(pause_s * 2, _RECONNECT_PAUSE_S_MAX)
            else:
                self._is_away = False
                self._hand_on(connection)
                return


def _refuse(place: asyncio.Future[C]) -> None:
    if not place.done():
        place.set_exception(unavailable())
