"""POST /logout."""

from dataclasses import dataclass

from tidegate.api.bearer import authenticated
from tidegate.api.errors import SUCCESS
from tidegate.api.fields import read_form, text_field
from tidegate.api.http import Answer, Request
from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.log_out import LogOut, LogoutScope


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutEndpoint:
    """Bearer; form: `scope`, one of `this` (when absent), `others`, `all`."""

    authenticate: Authenticate
    log_out: LogOut

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 success."""
        claims = await authenticated(request, self.authenticate)
        typed = text_field(read_form(request), "scope") or LogoutScope.THIS
        try:
            scope = LogoutScope(typed)
        except ValueError:
            raise InvalidRequest(FieldFault("scope", "unknown")) from None
        await self.log_out(claims, scope)
        return Answer(200, SUCCESS)
