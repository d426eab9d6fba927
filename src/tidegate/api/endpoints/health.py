"""GET /health/live and /health/ready."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tidegate.api.http import Answer, Request
from tidegate.api.schemas import Health, Readiness, encode


async def live(_request: Request) -> Answer:
    """Answer 200: the event loop runs."""
    return Answer(200, encode(Health("live")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyEndpoint:
    """Asks whatever a login needs.

    Attributes:
        checks: Each raises `Unavailable` when a login would fail now.
        full: Names what has no place for one more. It tells, and makes nobody unready: a balancer that takes full nodes out
            takes out all of them in a storm.
    """

    checks: tuple[Callable[[], Awaitable[None]], ...]
    full: Callable[[], Sequence[str]]

    async def __call__(self, _request: Request) -> Answer:
        """Answer 200 when a login would be served, else 503."""
        for check in self.checks:
            await check()
        return Answer(200, encode(Readiness("ready", list(self.full()))))
