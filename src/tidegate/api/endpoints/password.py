"""POST /me/password."""

from dataclasses import dataclass

from tidegate.api.bearer import authenticated
from tidegate.api.fields import read_form, required_field
from tidegate.api.http import Answer, Request
from tidegate.api.schemas import Tokens, encode
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.change_password import ChangePassword
from tidegate.usecases.log_in import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordEndpoint:
    """Bearer; form: `current_password`, `new_password`."""

    authenticate: Authenticate
    change_password: ChangePassword

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with the token pair of the session that the caller goes on in; every other one is over."""
        claims = await authenticated(request, self.authenticate)
        fields = read_form(request)
        pair = await self.change_password(
            claims,
            current=required_field(fields, "current_password"),
            new=required_field(fields, "new_password"),
            origin=Origin(request.device, request.address),
        )
        return Answer(200, encode(Tokens.of(pair)))
