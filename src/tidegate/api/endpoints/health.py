"""GET /health/live and /health/ready."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tidegate.api.http import Answer, Request
from tidegate.api.schemas import Health, Readiness, encode
from tidegate.domain.errors import DeadlineExceeded

READY_WITHIN_S: Final = 0.25
"""Whoever asks for our health must hear something: to a load balancer silence is death, and it ends what is under way here
(ADR 0020). The checks take some milliseconds; what takes longer would keep a login waiting too."""


async def live(_request: Request) -> Answer:
    """Answer 200: the event loop runs."""
    return Answer(200, encode(Health("live")))


class ReadyEndpoint:
    """Asks whatever a login needs.

    Args:
        checks: Each raises `Unavailable` when a login would fail now.
        full: Names what has no place for one more. It tells, and makes nobody unready: a balancer that takes full nodes out
            takes out all of them in a storm.
    """

    def __init__(self, *, checks: tuple[Callable[[], Awaitable[None]], ...], full: Callable[[], Sequence[str]]) -> None:
        self._checks = checks
        self._full = full
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, _request: Request) -> Answer:
        """Answer 200 when a login would be served, else 503, within `READY_WITHIN_S`."""
        # One question for all who ask, and it is not broken off: that would cost the pool a connection each time, at the
        # moment when the primary is slow.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(_hear)
        await asyncio.wait([self._asking], timeout=READY_WITHIN_S)
        if not self._asking.done():
            raise DeadlineExceeded
        self._asking.result()
        return Answer(200, encode(Readiness("ready", list(self._full()))))

    async def _ask(self) -> None:
        for check in self._checks:
            await check()


def _hear(asked: asyncio.Task[None]) -> None:
    """Take note of an answer that came when nobody waited for it any more; else it would be reported as lost."""
    if not asked.cancelled():
        asked.exception()
