"""The connections to the primary: held open, lent for one statement or one transaction, replaced when in doubt.

Not asyncpg.Pool: that asks the server to reset the connection after each use, which costs three times as much as the
statement itself (STACK.md section 4).
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tidegate.storage.connections import PrimaryConnection, Row, connect
from tidegate.storage.failures import unavailable

_RECONNECT_PAUSE_S_MIN: Final = 0.05
_RECONNECT_PAUSE_S_MAX: Final = 1.0
"""Between attempts, doubling, each drawn from its half to its whole, so that the nodes do not come back in step."""

_CLOSE_TIMEOUT_S: Final = 1.0


class PrimaryPool:
    """A fixed number of connections to the primary.

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
        self._held: set[PrimaryConnection] = set()
        self._free: list[PrimaryConnection] = []
        self._waiting: deque[asyncio.Future[PrimaryConnection]] = deque()
        self._mending: set[asyncio.Task[None]] = set()
        self._is_away = False
        self._is_open = False

    async def open(self) -> None:
        """Open all connections.

        Raises:
            DatabaseUnavailable: One of them cannot be opened; none stays open.
        """
        self._is_open = True
        opened = await asyncio.gather(*(self._connect() for _ in range(self._size)), return_exceptions=True)
        failed = [outcome for outcome in opened if isinstance(outcome, BaseException)]
        for outcome in opened:
            if isinstance(outcome, PrimaryConnection):
                self._hand_on(outcome)
        if failed:
            await self.aclose()
            raise failed[0]

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

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Run *statement* in a transaction of its own and return all rows.

        Raises:
            DatabaseUnavailable: No connection in time, or the database cannot; whether a write took place is unknown.
            UniqueViolated: Another row holds one of *values*.
            StatementFailed: A bug.
        """
        lent = self._free.pop() if self._free else await self._wait()
        try:
            return await lent.fetch(statement, *values)
        finally:
            self._give_back(lent)

    async def fetchrow(self, statement: str, *values: object) -> Row | None:
        """Run *statement* in a transaction of its own and return its first row. Raises as `fetch`."""
        lent = self._free.pop() if self._free else await self._wait()
        try:
            return await lent.fetchrow(statement, *values)
        finally:
            self._give_back(lent)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PrimaryConnection]:
        """Lend a connection for several statements: committed when the block ends, taken back when it raises.

        Raises:
            DatabaseUnavailable: As `fetch`; when it comes of the commit, whether that took place is unknown.
        """
        lent = self._free.pop() if self._free else await self._wait()
        try:
            await lent.begin()
            yield lent
            await lent.commit()
        except Exception:
            await lent.roll_back()
            raise
        except BaseException:
            # Cancelled: there is no time left for a question and an answer.
            lent.terminate()
            raise
        finally:
            self._give_back(lent)

    async def ping(self) -> None:
        """Ask the primary something.

        Raises:
            DatabaseUnavailable: It does not answer, or takes no writes.
        """
        row = await self.fetchrow("is_primary")
        if row is None or not row["is_primary"]:
            raise unavailable()

    async def connections_offered(self) -> int:
        """How many connections the primary lets everybody but its superusers hold at once.

        Raises:
            DatabaseUnavailable: It does not answer.
        """
        row = await self.fetchrow("connections_offered")
        assert row is not None  # it has no WHERE
        return int(row["offered"])

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

    async def _wait(self) -> PrimaryConnection:
        if not self._is_open or (self._is_away and not self._held) or len(self._waiting) >= self._waiting_max:
            raise unavailable()
        loop = asyncio.get_running_loop()
        place: asyncio.Future[PrimaryConnection] = loop.create_future()
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

    def _give_back(self, lent: PrimaryConnection) -> None:
        if lent.is_usable:
            self._hand_on(lent)
        else:
            lent.terminate()

    def _hand_on(self, connection: PrimaryConnection) -> None:
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

    async def _connect(self) -> PrimaryConnection:
        driver = await connect(
            self._dsn, connect_timeout_s=self._connect_timeout_s, statement_timeout_s=self._statement_timeout_s
        )
        connection = PrimaryConnection(driver)
        self._held.add(connection)
        connection.on_end(lambda: self._forget(connection))
        return connection

    def _forget(self, ended: PrimaryConnection) -> None:
        """Begin to replace a connection; called by its end, whatever caused it."""
        self._held.discard(ended)
        with contextlib.suppress(ValueError):
            self._free.remove(ended)
        if self._is_open:
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


def _refuse(place: asyncio.Future[PrimaryConnection]) -> None:
    if not place.done():
        place.set_exception(unavailable())
