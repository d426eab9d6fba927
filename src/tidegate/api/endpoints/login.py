"""POST /login."""

from dataclasses import dataclass
from typing import Final

from tidegate.api.cookies import DeviceCookie
from tidegate.api.fields import JSON_TYPES, read_form, required_field, text_field
from tidegate.api.http import Answer, Request
from tidegate.api.routing import Endpoint
from tidegate.api.schemas import Tokens, encode
from tidegate.domain.credentials import normalise_password
from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.domain.users import IdentifierKind
from tidegate.usecases.log_in import LogIn, Origin
from tidegate.usecases.register import Normalise

_KINDS: Final = tuple(IdentifierKind)
"""To go through the class itself costs five times as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginEndpoint:
    """Form: `username` or `email` or `phone_number`, exactly one, and `password`.

    Attributes:
        device_cookie: Carries the device token.
        register: Answers a JSON body, as the contract's document prints it (ADR 0002); None: such a body is refused.
    """

    log_in: LogIn
    normalise: Normalise
    device_cookie: DeviceCookie
    register: Endpoint | None

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with a token pair."""
        if request.media_type in JSON_TYPES:
            if self.register is None:
                raise InvalidRequest(FieldFault("body", "not_a_form"))
            return await self.register(request)
        fields = read_form(request)
        given = [(kind, text) for kind in _KINDS if (text := text_field(fields, kind))]
        if len(given) != 1:
            fault = "missing" if not given else "more_than_one"
            raise InvalidRequest(FieldFault("identifier", fault))
        kind, text = given[0]
        identifier = self.normalise(kind, text)
        password = normalise_password(required_field(fields, "password"))
        origin = Origin(request.device, request.address, self.device_cookie.read(request))
        logged_in = await self.log_in(identifier, password, origin)
        request.user_id = logged_in.user_id
        answer = Answer(200, encode(Tokens.of(logged_in.tokens)))
        if logged_in.device_token is not None:
            answer.headers.append(self.device_cookie.set(logged_in.device_token))
        return answer
