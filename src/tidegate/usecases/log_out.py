"""Ends sessions at their user's wish: this one, the others, or all."""

from dataclasses import dataclass
from enum import StrEnum

from tidegate.domain.claims import AccessClaims
from tidegate.ports.sessions import Sessions


class LogoutScope(StrEnum):
    """Which sessions to end; the values are those on the wire."""

    THIS = "this"
    OTHERS = "others"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOut:
    """One logout: refresh tokens of the ended sessions are refused at once, access tokens within 1 s (DESIGN 5.4)."""

    sessions: Sessions

    async def __call__(self, claims: AccessClaims, scope: LogoutScope) -> None:
        """Revoke the sessions that *scope* names, seen from the one of *claims*."""
        match scope:
            case LogoutScope.THIS:
                await self.sessions.revoke(claims.session_id)
            case LogoutScope.OTHERS:
                await self.sessions.revoke_all(claims.user_id, but=claims.session_id)
            case LogoutScope.ALL:
                await self.sessions.revoke_all(claims.user_id)
