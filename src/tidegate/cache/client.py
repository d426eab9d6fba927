"""The cache as one process sees it: answers at once, or is away, and is then asked for nothing until it is back.

A Valkey that hangs must not hang us. Every command is bounded by one short patience; the first that exceeds it ends the
connection, so that whoever waits on it goes on without the cache, and from then on nobody waits: `CacheClient.ask` raises
at once. Meanwhile a new connection is tried in the background until one answers.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from tidegate.cache.address import CacheAddress
from tidegate.cache.connection import CacheAway, CacheRefused, Connection, Reply

_PAUSE_S_MIN: Final = 0.05
_PAUSE_S_MAX: Final = 1.0
"""Between two attempts to connect; each costs the server an accept and us nothing worth counting."""

_SECOND_LOOK_S: Final = 0.005
"""Where the event loop itself stood still, a command leaves only when, by the clock, its time is over already."""

_CONNECT_TIMEOUT_S: Final = 1.0
"""For TCP and TLS; nobody waits for it."""


class CacheClient:
    """One connection to Valkey, made anew when it is lost."""

    def __init__(
        self,
        address: CacheAddress,
        *,
        timeout_s: float,
        on_change: Callable[[bool, str], None] = lambda _is_up, _why: None,
    ) -> None:
        """Nothing is connected before `start`.

        Args:
            address: Where it is.
            timeout_s: How long the answer to a command may take before the cache counts as away.
            on_change: Told whether the cache is there and why it is not, each time that one of the two changes.
        """
        self._address = address
        self._timeout_s = timeout_s
        self._on_change = on_change
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._up = asyncio.Event()
        self._look_due: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._told: tuple[bool, str] | None = None

    @property
    def is_up(self) -> bool:
        """Whether commands are answered, as far as we know."""
        return self._connection is not None

    def ask(self, *words: bytes | int) -> "asyncio.Future[Reply]":
        """Send one command, together with what others send in this turn of the event loop.

        Returns:
            Its answer; or, raised from the future, `CacheRefused`, or `CacheAway` when it was not answered in time.

        Raises:
            CacheAway: At once, while the cache is away.
        """
        if self._connection is None:
            raise CacheAway
        answer = self._connection.ask(*words)
        if self._look_due is None:
            self._look_in(self._timeout_s)
        return answer

    def tell(self, *words: bytes | int) -> None:
        """Send one command whose answer nobody waits for.

        Raises:
            CacheAway: At once, while the cache is away.
        """
        if self._connection is None:
            raise CacheAway
        self._connection.tell(*words)
        if self._look_due is None:
            self._look_in(self._timeout_s)

    async def start(self) -> None:
        """Connect, and stay connected; returns after the first attempt, whatever came of it."""
        await self._try_to_connect()
        self._keeping = asyncio.create_task(self._keep())

    async def until_up(self) -> None:
        """Wait until commands are answered."""
        await self._up.wait()

    async def aclose(self) -> None:
        """Hang up and stay away."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        self._on_change = lambda _is_up, _why: None
        if self._connection is not None:
            self._connection.close()

    async def _keep(self) -> None:
        pause_s = _PAUSE_S_MIN
        while True:
            if self._connection is not None:
                pause_s = _PAUSE_S_MIN
                await self._lost.wait()
            if not await self._try_to_connect():
                await asyncio.sleep(pause_s)
                pause_s = min(_PAUSE_S_MAX, pause_s * 2)

    async def _try_to_connect(self) -> bool:
        try:
            await self._connect()
        except CacheRefused as error:
            self._tell(is_up=False, why=error.code)
        except (OSError, CacheAway) as error:  # among the first: TimeoutError, and what TLS complains of
            self._tell(is_up=False, why=type(error).__name__)
        else:
            self._tell(is_up=True, why="")
        return self.is_up

    def _tell(self, *, is_up: bool, why: str) -> None:
        if self._told != (is_up, why):
            self._told = (is_up, why)
            self._on_change(is_up, why)

    async def _connect(self) -> None:
        """Make a connection and let it answer; only then does anybody else see it."""
        loop = asyncio.get_running_loop()
        address = self._address
        connection = Connection(on_lost=self._note_lost)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                if address.socket:
                    await loop.create_unix_connection(lambda: connection, address.socket)
                else:
                    context = ssl.create_default_context() if address.uses_tls else None
                    await loop.create_connection(lambda: connection, address.host, address.port, ssl=context)
            async with asyncio.timeout(self._timeout_s):
                await self._introduce(connection)
        except BaseException:
            connection.close()
            raise
        self._lost.clear()
        self._connection = connection
        self._up.set()

    async def _introduce(self, connection: Connection) -> None:
        address = self._address
        if address.password:
            named = (address.username.encode(),) if address.username else ()
            await connection.ask(b"AUTH", *named, address.password.encode())
        if address.database:
            await connection.ask(b"SELECT", address.database)
        await connection.ask(b"PING")

    def _note_lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self._up.clear()
        self._lost.set()
        if self._look_due is not None:
            self._look_due.cancel()
            self._look_due = None
        self._tell(is_up=False, why="it was lost")

    def _look_in(self, pause_s: float, *, is_second: bool = False) -> None:
        self._look_due = asyncio.get_running_loop().call_later(pause_s, self._look, is_second)

    def _look(self, is_second: bool) -> None:
        """See whether the oldest command has waited too long; one timer serves all commands of the moment."""
        self._look_due = None
        since = None if self._connection is None else self._connection.waiting_since
        if self._connection is None or since is None:
            return
        left_s = since + self._timeout_s - asyncio.get_running_loop().time()
        if left_s > 0:
            self._look_in(left_s)
        elif not is_second:
            self._look_in(_SECOND_LOOK_S, is_second=True)
        else:
            self._connection.close()
