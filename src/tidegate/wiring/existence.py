"""The existence filter of one node: the memory that its processes share, the process that keeps it, the users behind it."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final, Protocol

from tidegate.config import ExistenceMode, Profile, Settings
from tidegate.existence import memory
from tidegate.existence.filtered_users import FilteredUsers, Newcomers
from tidegate.existence.keeper import Keeper
from tidegate.existence.memory import FilterMemory, NoSharedMemoryError
from tidegate.existence.shared_filter import SharedFilter
from tidegate.observability import metrics
from tidegate.observability.log import JsonLog, open_log
from tidegate.ports.users import NearbyUsers, UserFinder, UserReader, UserWriter
from tidegate.storage.existence import open_existence_database
from tidegate.storage.users import PostgresUsers
from tidegate.wiring.feed import hearing_of_names

_NICENESS: Final = 10
"""To gather the filter is seconds of work of which nobody waits: event loops come first."""


def make_memory(settings: Settings, *, tell: Callable[[str], None]) -> int | None:
    """The descriptor of the memory that API processes and keeper are to inherit; None: there is no filter.

    Args:
        settings: Whether there is to be one.
        tell: Hears why there is none where there should be.
    """
    if settings.existence_filter is ExistenceMode.OFF:
        return None
    try:
        descriptor = memory.create()
        FilterMemory(descriptor).close()  # what would fail in each process had better fail here
    except NoSharedMemoryError as error:
        tell(f"serving without the existence filter: {error}")
        return None
    return descriptor


def decides_alone(settings: Settings) -> bool:
    """Whether a "no" of the filter may be final on this node.

    Never in the hardened profile, whatever the mode: who is answered without the database is answered sooner, and so told
    that nobody has the name (ADR 0003).
    """
    return settings.existence_filter is ExistenceMode.ALONE and settings.profile is not Profile.HARDENED


async def run_keeper(settings: Settings, descriptor: int) -> None:
    """Keep the filter in the inherited memory until SIGTERM or SIGINT.

    Raises:
        NoSharedMemoryError: *descriptor* is of something else.
    """
    os.nice(_NICENESS)
    async with AsyncExitStack() as opened:
        log = opened.enter_context(open_log(settings.log_file))
        news = await opened.enter_async_context(hearing_of_names(settings, log)) if not decides_alone(settings) else None
        keeper = Keeper(
            memory=FilterMemory(descriptor),
            open_database=partial(
                open_existence_database,
                dsn=settings.primary_dsn,
                connect_timeout_s=settings.database_connect_timeout_ms / 1000,
            ),
            decides_alone=decides_alone(settings),
            report=partial(_report, log),
            news=news,
        )
        keeping = asyncio.create_task(keeper.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, keeping.cancel)
        with suppress(asyncio.CancelledError):
            await keeping


def _report(log: JsonLog, event: str, error: Exception | None) -> None:
    log.event("info" if error is None else "warning", "existence", event, error)


class KnownUsers(UserReader, UserWriter, Protocol):
    """Finds and changes users."""


@dataclass(frozen=True, slots=True)
class Users:
    """Users as the API meets them.

    Attributes:
        known: Finds and changes them, and tells the truth to whoever asks.
        nearby: Finds them where reading is cheapest.
        newcomers: Whom a registration asks.
        tell: Brings the metrics up to now.
    """

    known: KnownUsers
    nearby: NearbyUsers
    newcomers: UserFinder
    tell: Callable[[], None]


def filtered(users: PostgresUsers, nearby: NearbyUsers, descriptor: int | None, log: JsonLog) -> Users:
    """Put *users*, and where they are *nearby*, behind the filter in the inherited memory, if there is one."""
    if descriptor is None:
        return Users(users, nearby, users, lambda: None)
    try:
        existence = SharedFilter(FilterMemory(descriptor))
    except NoSharedMemoryError as error:
        log.event("error", "existence", "serving without the existence filter", error)
        return Users(users, nearby, users, lambda: None)
    known = FilteredUsers(users, nearby=nearby, existence=existence)
    newcomers = Newcomers(users, existence=existence)

    def tell() -> None:
        metrics.EXISTENCE_NAMES.set(existence.names)
        metrics.EXISTENCE_LOADED.set(existence.is_loaded)
        metrics.EXISTENCE_DECIDES.set(existence.decides)
        metrics.EXISTENCE_FED_AGE.set((memory.now_ns() - existence.fed_until_ns) / 1e9 if existence.fed_until_ns else inf)
        metrics.EXISTENCE_SPARED.labels("log_in").inc(known.take_spared())
        metrics.EXISTENCE_SPARED.labels("register").inc(newcomers.take_spared())

    return Users(known, known, newcomers, tell)
