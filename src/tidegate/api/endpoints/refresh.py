"""POST /refresh."""

from dataclasses import dataclass

from tidegate.api.fields import read_form, required_field
from tidegate.api.http import Answer, Request
from tidegate.api.schemas import Tokens, encode
from tidegate.usecases.refresh import Refresh


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshEndpoint:
    """Form: `refresh_token`."""

    refresh: Refresh

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with the next token pair."""
        refreshed = await self.refresh(required_field(read_form(request), "refresh_token"))
        request.user_id = refreshed.user_id
        return Answer(200, encode(Tokens.of(refreshed.tokens)))
