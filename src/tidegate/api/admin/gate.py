"""Who may ask anything on the admin port: whoever shows the admin token."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hmac import compare_digest

from tidegate.api.http import Answer, Request
from tidegate.api.routing import Endpoint
from tidegate.domain.errors import InvalidAccessToken
from tidegate.domain.throttling import CounterKind, address_counters
from tidegate.ports.throttling import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminGate:
    """Bearer: the admin token (RFC 6750 section 2.1, which knows no user and does not expire).

    Attributes:
        token: The one.
        throttle: Counts wrong ones by address.
    """

    token: str = field(repr=False)
    throttle: Throttle

    def before(self, endpoint: Callable[[Request], Awaitable[Answer]]) -> Endpoint:
        """*endpoint*, for who may ask."""

        async def guarded(request: Request) -> Answer:
            self._admit(request)
            return await endpoint(request)

        return guarded

    def _admit(self, request: Request) -> None:
        """Let *request* pass.

        Raises:
            TooManyAttempts: Too many wrong tokens came from its address.
            InvalidAccessToken: It shows no token, or a wrong one.
        """
        if not compare_digest(request.bearer_token().encode(), self.token.encode()):
            # Whoever has the right one is let in whatever others of the address guess: nobody can lock the operator out.
            self.throttle.count(address_counters(CounterKind.CLIENT, request.address))
            raise InvalidAccessToken
