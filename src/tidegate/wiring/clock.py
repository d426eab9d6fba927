"""The time that an API process goes by where nodes must agree, checked against the primary's clock (ADR 0030)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Never

from tidegate.domain.errors import DatabaseUnavailable
from tidegate.observability import metrics
from tidegate.observability.log import JsonLog
from tidegate.storage.pools import PrimaryPool
from tidegate.tokens.clock import CheckedClock
from tidegate.wiring.parts import background


@asynccontextmanager
async def open_clock(primary: PrimaryPool, log: JsonLog, *, interval_s: float = 1.0) -> AsyncIterator[CheckedClock]:
    """Check the clock, and go on to do so: who has this has compared the clock once.

    Args:
        primary: Tells the time.
        log: Told when our clock begins to be wrong, and when it is right again.
        interval_s: Between two checks; for so long nodes may disagree when the primary's own clock is set.

    Raises:
        DatabaseUnavailable: The primary does not tell the time at start.
    """
    clock = CheckedClock()
    await _check(clock, primary, log)
    async with background(_keep_checking(clock, primary, log, interval_s)):
        yield clock


async def _keep_checking(clock: CheckedClock, primary: PrimaryPool, log: JsonLog, interval_s: float) -> Never:
    while True:
        await asyncio.sleep(interval_s)
        try:
            await _check(clock, primary, log)
        except DatabaseUnavailable:
            pass  # what is known of the clock stands, and others tell of the primary
        except Exception as failure:
            log.event("error", "clock", "the primary's clock could not be read and will be tried again", failure)


async def _check(clock: CheckedClock, primary: PrimaryPool, log: JsonLog) -> None:
    was_corrected = clock.is_corrected
    await clock.check(primary.time_s)
    metrics.CLOCK_OFF.set(abs(clock.off_s))
    if clock.is_corrected == was_corrected:
        return
    if clock.is_corrected:
        far = f"{abs(clock.off_s):.1f} s {'ahead of' if clock.off_s > 0 else 'behind'}"
        log.event("warning", "clock", f"this node's clock is {far} the primary's: tokens go by the primary's")
    else:
        log.event("info", "clock", "this node's clock agrees with the primary's: tokens go by it again")
