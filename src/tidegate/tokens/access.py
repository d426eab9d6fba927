"""Joins issuing and verifying into the one port that the use cases know."""

from dataclasses import dataclass
from uuid import UUID

from tidegate.domain.claims import AccessClaims
from tidegate.tokens.issuer import AccessTokenIssuer
from tidegate.tokens.remembered import RememberingVerifier
from tidegate.tokens.verifier import AccessTokenVerifier


@dataclass(frozen=True, slots=True)
class AccessTokenService:
    """Implements `ports.tokens.AccessTokens`."""

    issuer: AccessTokenIssuer
    verifier: AccessTokenVerifier | RememberingVerifier

    def issue(self, user_id: UUID, session_id: UUID) -> str:
        """See `AccessTokenIssuer.issue`."""
        return self.issuer.issue(user_id, session_id)

    def verify(self, token: str) -> AccessClaims:
        """See `AccessTokenVerifier.verify`."""
        return self.verifier.verify(token)
