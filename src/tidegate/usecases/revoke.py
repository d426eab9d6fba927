"""Ends the session of a token that its holder gives back (RFC 7009)."""

from dataclasses import dataclass

from tidegate.domain.errors import InvalidAccessToken, InvalidRefreshToken
from tidegate.ports.sessions import Sessions
from tidegate.ports.tokens import AccessTokens, RefreshTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """One revocation. Whoever holds a token may end its session: it is the most they could do with it anyway."""

    sessions: Sessions
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens

    async def __call__(self, token: str) -> None:
        """Revoke the session of *token*, refresh or access; a token that is not ours changes nothing (section 2.2)."""
        try:
            session_id = self.refresh_tokens.read(token).session_id
        except InvalidRefreshToken:
            try:
                session_id = self.access_tokens.verify(token).session_id
            except InvalidAccessToken:
                return
        await self.sessions.revoke(session_id)
