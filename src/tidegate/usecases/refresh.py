"""Replaces a refresh token by its successor and hands out a new access token."""

from dataclasses import dataclass
from uuid import UUID

from tidegate.domain.claims import TokenPair
from tidegate.domain.errors import InvalidRefreshToken
from tidegate.domain.sessions import Fate
from tidegate.ports.sessions import Sessions
from tidegate.ports.tokens import AccessTokens, RefreshTokens


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A refresh that went well."""

    user_id: UUID
    tokens: TokenPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """One refresh (RFC 6749 section 6, RFC 9700 section 4.14.2)."""

    sessions: Sessions
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens

    async def __call__(self, refresh_token: str) -> Refreshed:
        """Rotate *refresh_token*.

        Raises:
            InvalidRefreshToken: Not ours, expired, revoked, or replaced too long ago: then its session is revoked,
                and that is committed before this is raised (promise P5).
            Unavailable: No database in time; the token may have been rotated, and presented again it yields the
                same successor (promise P7).
        """
        grant = self.refresh_tokens.read(refresh_token)
        rotation = await self.sessions.rotate(grant)
        fate = rotation.fate
        if fate is Fate.REUSED or fate is Fate.DEAD or rotation.user_id is None:
            raise InvalidRefreshToken(is_reuse=fate is Fate.REUSED)
        pair = TokenPair(
            self.access_tokens.issue(rotation.user_id, grant.session_id),
            self.refresh_tokens.make(grant.session_id, grant.generation + 1),
        )
        return Refreshed(rotation.user_id, pair)
