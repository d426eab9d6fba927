"""GET /me/sessions and DELETE /me/sessions/{id}."""

from dataclasses import dataclass

from tidegate.api.bearer import authenticated
from tidegate.api.errors import SUCCESS
from tidegate.api.fields import read_id
from tidegate.api.http import Answer, Request
from tidegate.api.schemas import SessionBody, SessionsBody, encode
from tidegate.domain.errors import UnknownResource
from tidegate.ports.sessions import Sessions
from tidegate.usecases.authenticate import Authenticate


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSessionsEndpoint:
    """Bearer."""

    authenticate: Authenticate
    sessions: Sessions

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with the caller's live sessions."""
        claims = await authenticated(request, self.authenticate)
        views = await self.sessions.of_user(claims.user_id)
        return Answer(200, encode(SessionsBody([SessionBody.of(view, current=claims.session_id) for view in views])))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSessionEndpoint:
    """Bearer."""

    authenticate: Authenticate
    sessions: Sessions

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 success; 404 if the caller has no such live session."""
        claims = await authenticated(request, self.authenticate)
        session_id = read_id(request.path_value)
        if session_id is None or not await self.sessions.revoke(session_id, user_id=claims.user_id):
            raise UnknownResource
        return Answer(200, SUCCESS)
