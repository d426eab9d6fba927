"""What the keeper of the existence filter asks the primary, on a connection of its own: all names, and the lease."""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import asyncpg

from tidegate.storage.connections import Driver, Row, connect
from tidegate.storage.failures import unavailable
from tidegate.storage.statements import statements

_SCAN_S_MAX: Final = 3_600.0
"""A bound on reading the whole table."""

_STATEMENT_S_MAX: Final = 60.0

_BOUNDED_CLAIM: Final = (
    "SET LOCAL lock_timeout = '100ms'; "
    "SET LOCAL idle_in_transaction_session_timeout = '1s'; "
    "SET LOCAL synchronous_commit = on"
)
"""While we wait for the transactions that add users to end, those that begin wait for us: a tenth of a second at most. If
we are stopped while they do (SIGSTOP, a debugger, a frozen container), the server ends our session: a second at most. And
what is answered from memory rests on the claim, so it is on disk before."""

APPLICATION_NAME: Final = "tidegate existence"

_AGE_MAX: Final = 1_000_000_000
"""Transactions after which a horizon is not asked about any more; their 32-bit numbers repeat after four times as many."""

_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@asynccontextmanager
async def open_existence_database(*, dsn: str, connect_timeout_s: float) -> AsyncIterator["ExistenceDatabase"]:
    """Open a connection to the primary for as long as the block takes.

    Args:
        dsn: Of the primary, not through a pooler: the keeper is known by its session.
        connect_timeout_s: For the whole of connecting.

    Raises:
        DatabaseUnavailable: It cannot be had.
    """
    driver = await connect(
        dsn,
        connect_timeout_s=connect_timeout_s,
        statement_timeout_s=_SCAN_S_MAX,
        application_name=APPLICATION_NAME,
    )
    try:
        yield ExistenceDatabase(driver)
    finally:
        # Politely would take a while, and the locks of the session end with it in any case.
        driver.terminate()


class ExistenceDatabase:
    """The primary, as the keeper of the existence filter sees it. Whatever it cannot raises `DatabaseUnavailable`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def hold(self) -> bool:
        """Become the one keeper that may have the lease, until the connection ends; False: another is."""
        return bool((await self._ask("hold_existence"))["is_held"])

    async def lease(self) -> int:
        """The note of the filter that decides alone; negative while that filter is only claimed; 0: none does."""
        return int((await self._ask("existence_lease"))["last_value"])

    async def claim(self, note: int) -> bool:
        """Say that the filter *note* is going to decide: whoever adds what is not noted in it ends the claim.

        When this returns, all others that added users before have committed: a scan that begins now finds them.

        Returns:
            False if that could not be had in time, or if users can be added without passing the trigger.
        """
        return await self._without_writers("claim_existence", note)

    async def win(self, note: int) -> bool:
        """Turn the claim into the lease; False if it has ended, or if writers did not end in time."""
        return await self._without_writers("win_existence", note)

    async def renew(self, note: int, *, timeout_s: float) -> bool:
        """Whether the lease still stands and nobody waits for its end.

        When True, it counts for the time that a waiter waits, from when this was called.
        """
        return bool((await self._ask("renew_existence", note, timeout_s=timeout_s))["is_renewed"])

    async def give_up(self, note: int) -> None:
        """End the lease, if it stands. Only once nobody relies on it."""
        with _troubles():
            await self._driver.fetch(statements()["give_up_existence"], note, timeout=_STATEMENT_S_MAX)

    async def horizon(self) -> int:
        """A moment, as `scan` understands it: whatever is committed before is seen by every scan that begins later."""
        return int((await self._ask("existence_horizon"))["horizon"])

    async def count(self) -> int:
        """How many names there are."""
        return int((await self._ask("count_names", timeout_s=_SCAN_S_MAX))["names"])

    async def scan(self, take: Callable[[list[bytes]], Awaitable[None]], *, since: int | None) -> None:
        """Hand over every name, in UTF-8 and as it is stored, in portions.

        Args:
            take: Gets each portion; the next one waits for it.
            since: A horizon of this very connection: only names in rows that were written since, and maybe some more.
        """
        copied = CopiedText()

        async def take_copied(data: bytes) -> None:
            await take(copied.feed(data))

        is_usable = since is not None and await self.horizon() - since < _AGE_MAX
        statement, values = ("names_since", (since,)) if is_usable else ("all_names", ())
        with _troubles():
            await self._driver.copy_from_query(
                statements()[statement].rstrip(";"), *values, output=take_copied, null="", timeout=_SCAN_S_MAX
            )

    async def names_of(self, user_ids: list[UUID]) -> list[bytes]:
        """All names of these users, in UTF-8 and as they are stored."""
        with _troubles():
            rows = await self._driver.fetch(statements()["names_of_users"], user_ids, timeout=_STATEMENT_S_MAX)
        return [name.encode() for row in rows for name in row if name is not None]

    async def _ask(self, statement: str, *values: object, timeout_s: float = _STATEMENT_S_MAX) -> Row:
        with _troubles():
            row = await self._driver.fetchrow(statements()[statement], *values, timeout=timeout_s)
        if row is None:
            raise unavailable()
        return row

    async def _without_writers(self, statement: str, note: int) -> bool:
        with _troubles():
            try:
                # Before all others wait: who is stopped just after it has prepared is cut off late (connections.py).
                prepared = await self._driver.prepare(statements()[statement])
                async with self._driver.transaction():
                    await self._driver.execute(_BOUNDED_CLAIM)
                    await self._driver.fetch(statements()["stop_existence_writers"])
                    return await prepared.fetchrow(note) is not None
            except asyncpg.LockNotAvailableError:
                return False


class CopiedText:
    """Takes the values out of what COPY .. TO STDOUT (NULL '') says, however it was cut into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The values of all rows that are complete now, without the nulls."""
        complete, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if not newline:
            return []
        values = complete.replace(b"\n", b"\t").split(b"\t")
        if b"\\" in complete:
            values = [_ESCAPED.sub(_unescape, value) for value in values]
        return [value for value in values if value]


def _unescape(escaped: re.Match[bytes]) -> bytes:
    return _ESCAPES.get(escaped[1], escaped[1])


@contextlib.contextmanager
def _troubles() -> Iterator[None]:
    """Whatever it is: the keeper begins anew on another connection, and nobody decides alone meanwhile."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise unavailable() from error
