"""GET /availability."""

from dataclasses import dataclass

from tidegate.api.fields import read_query, required_field
from tidegate.api.http import Answer, Request
from tidegate.api.schemas import Availability, encode
from tidegate.domain.errors import UnknownRoute
from tidegate.domain.throttling import CounterKind, address_counters
from tidegate.domain.users import IdentifierKind
from tidegate.ports.throttling import Throttle
from tidegate.ports.users import UserReader
from tidegate.usecases.register import Normalise


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityEndpoint:
    """Query: `username`. Only of usernames: whether an email address or a phone number is registered is nobody's business.

    Attributes:
        is_offered: False in the hardened profile, where it would tell who is registered (ADR 0003).
    """

    users: UserReader
    normalise: Normalise
    throttle: Throttle
    is_offered: bool

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with whether the username is free now."""
        if not self.is_offered:
            raise UnknownRoute
        identifier = self.normalise(IdentifierKind.USERNAME, required_field(read_query(request), "username"))
        self.throttle.count(address_counters(CounterKind.AVAILABILITY, request.address))
        return Answer(200, encode(Availability(available=await self.users.find(identifier) is None)))
