"""POST /revoke (RFC 7009)."""

from dataclasses import dataclass

from tidegate.api.errors import SUCCESS
from tidegate.api.fields import read_form, required_field
from tidegate.api.http import Answer, Request
from tidegate.usecases.revoke import Revoke


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeEndpoint:
    """Form: `token`; a `token_type_hint` is not needed to tell our tokens apart (section 2.1 lets us ignore it)."""

    revoke: Revoke

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 success, of a token that is not ours too (section 2.2)."""
        await self.revoke(required_field(read_form(request), "token"))
        return Answer(200, SUCCESS)
