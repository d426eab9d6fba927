"""POST /register, and POST /login with a JSON body."""

from dataclasses import dataclass
from typing import Final

from tidegate.api.errors import SUCCESS
from tidegate.api.fields import read_json, text_member
from tidegate.api.http import Answer, Request
from tidegate.api.idempotency import idempotency_key
from tidegate.domain.errors import FaultCollector
from tidegate.usecases.register import Register, Registration
from tidegate.usecases.register_once import RegisterOnce

_MEMBERS: Final = ("username", "email", "phone_number", "password", "full_name", "birthdate", "campaign")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterEndpoint:
    """JSON: at least one of `username`, `email`, `phone_number`; `password`; maybe `full_name`, `birthdate`, `campaign`.

    Attributes:
        register: For requests without an idempotency key.
        register_once: For those with one.
    """

    register: Register
    register_once: RegisterOnce

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 success."""
        key = idempotency_key(request)
        members = read_json(request)
        faults = FaultCollector()
        typed = {name: faults.collect(text_member, members, name) for name in _MEMBERS}
        faults.raise_if_any()
        registration = Registration(**typed)
        if key is None:
            request.user_id = await self.register(registration, address=request.address)
        else:
            request.user_id = await self.register_once(registration, key, address=request.address)
        return Answer(200, SUCCESS)
