"""Decides whether an access token may be used now."""

from dataclasses import dataclass

from tidegate.domain.claims import AccessClaims
from tidegate.domain.errors import InvalidAccessToken
from tidegate.ports.sessions import Revocations
from tidegate.ports.tokens import AccessTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate:
    """One look at a bearer token (RFC 6750)."""

    access_tokens: AccessTokens
    revocations: Revocations

    async def __call__(self, access_token: str) -> AccessClaims:
        """Return the claims of *access_token*.

        Raises:
            InvalidAccessToken: Malformed, expired, not ours, or its session has been revoked.
            Unavailable: Whether it has been revoked cannot be known now (promise P9).
        """
        claims = self.access_tokens.verify(access_token)
        if await self.revocations.is_revoked(claims.session_id, lives_s=claims.lives_s):
            raise InvalidAccessToken
        return claims

    def signed(self, access_token: str) -> AccessClaims:
        """Return the claims of *access_token*, even if its session is over; who calls this says why that may be.

        Raises:
            InvalidAccessToken: Malformed, expired or not ours.
        """
        return self.access_tokens.verify(access_token)

    async def refuse_revoked(self, claims: AccessClaims) -> None:
        """Raise as a call would if the session of *claims*, which are `signed`, has been revoked."""
        if await self.revocations.is_revoked(claims.session_id, lives_s=claims.lives_s):
            raise InvalidAccessToken
