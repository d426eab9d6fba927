"""Tells a resource server whether an access token is active (RFC 7662)."""

from dataclasses import dataclass

from tidegate.domain.claims import AccessClaims
from tidegate.domain.errors import InvalidAccessToken
from tidegate.ports.sessions import Sessions
from tidegate.ports.tokens import AccessTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspect:
    """One introspection, answered from the primary: a revoked session is inactive at once, not within a second."""

    access_tokens: AccessTokens
    sessions: Sessions

    async def __call__(self, token: str) -> AccessClaims | None:
        """Return the claims of *token* if it is an active access token, else None.

        A refresh token is never active here: no resource server should have seen one.
        """
        try:
            claims = self.access_tokens.verify(token)
        except InvalidAccessToken:
            return None
        return claims if await self.sessions.is_live(claims.session_id) else None
