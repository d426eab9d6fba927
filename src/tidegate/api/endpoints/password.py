"""POST /me/password."""

from dataclasses import dataclass

from tidegate.api.bearer import authenticated, signed
from tidegate.api.fields import read_form, required_field
from tidegate.api.http import Answer, Request
from tidegate.api.idempotency import idempotency_key
from tidegate.api.schemas import Tokens, encode
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.change_password import ChangePassword
from tidegate.usecases.change_password_once import ChangePasswordOnce
from tidegate.usecases.log_in import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordEndpoint:
    """Bearer; form: `current_password`, `new_password`.

    Attributes:
        change_password: For requests without an idempotency key.
        change_password_once: For those with one.
    """

    authenticate: Authenticate
    change_password: ChangePassword
    change_password_once: ChangePasswordOnce

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with the token pair of the session that the caller goes on in; every other one is over."""
        key = idempotency_key(request)
        claims = await authenticated(request, self.authenticate) if key is None else signed(request, self.authenticate)
        fields = read_form(request)
        current, new = required_field(fields, "current_password"), required_field(fields, "new_password")
        origin = Origin(request.device, request.address)
        if key is None:
            pair = await self.change_password(claims, current=current, new=new, origin=origin)
        else:
            pair = await self.change_password_once(claims, key, current=current, new=new, origin=origin)
        return Answer(200, encode(Tokens.of(pair)))
