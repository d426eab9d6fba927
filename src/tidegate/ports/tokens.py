"""Tokens made and read."""

from typing import Protocol
from uuid import UUID

from tidegate.domain.claims import AccessClaims, DeviceGrant, RefreshGrant


class AccessTokens(Protocol):
    """Makes and verifies access tokens (RFC 9068)."""

    def issue(self, user_id: UUID, session_id: UUID) -> str:
        """A token signed by the key that is current now."""

    def verify(self, token: str) -> AccessClaims:
        """The claims of *token*. Says nothing of revocation.

        Raises:
            InvalidAccessToken: Whatever is wrong with it.
        """


class RefreshTokens(Protocol):
    """Makes and reads refresh tokens: a session and a generation under a MAC, nothing to look up (DESIGN 5.4)."""

    def make(self, session_id: UUID, generation: int) -> str:
        """The one token of this session and generation: the same arguments always give the same string."""

    def read(self, token: str) -> RefreshGrant:
        """What *token* names.

        Raises:
            InvalidRefreshToken: Not made by us.
        """


class DeviceTokens(Protocol):
    """Makes and reads device tokens: that a user has logged in from this device before."""

    def read(self, token: str) -> DeviceGrant | None:
        """What *token* says, or None if it is not ours or has expired; a wrong one is as good as none."""

    def renewed(self, user_id: UUID, known: DeviceGrant | None) -> str | None:
        """The token for a device that *user_id* has just logged in from, or None if what it has, *known*, will do."""
