"""GET /health/live and /health/ready."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tidegate.api.http import Answer, Request
from tidegate.api.schemas import Health, encode


async def live(_request: Request) -> Answer:
    """Answer 200: the event loop runs."""
    return Answer(200, encode(Health("live")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyEndpoint:
    """Asks whatever a login needs.

    Attributes:
        checks: Each raises `Unavailable` when a login would fail now.
    """

    checks: tuple[Callable[[], Awaitable[None]], ...]

    async def __call__(self, _request: Request) -> Answer:
        """Answer 200 when a login would be served, else 503."""
        for check in self.checks:
            await check()
        return Answer(200, encode(Health("ready")))
