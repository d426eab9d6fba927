"""POST /register, and POST /login with a JSON body."""

from dataclasses import dataclass
from typing import Final

from tidegate.api.errors import SUCCESS
from tidegate.api.fields import read_json, text_member
from tidegate.api.http import Answer, Request
from tidegate.domain.errors import FaultCollector
from tidegate.usecases.register import Register, Registration

_MEMBERS: Final = ("username", "email", "phone_number", "password", "full_name", "birthdate")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterEndpoint:
    """JSON: at least one of `username`, `email`, `phone_number`; `password`; optionally `full_name`, `birthdate`."""

    register: Register

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 success."""
        members = read_json(request)
        faults = FaultCollector()
        typed = {name: faults.collect(text_member, members, name) for name in _MEMBERS}
        faults.raise_if_any()
        request.user_id = await self.register(Registration(**typed), address=request.address)
        return Answer(200, SUCCESS)
