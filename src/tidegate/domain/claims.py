"""What an access token says (RFC 9068) and what a refresh token names."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """The claims of a verified access token; every one of them was present and checked.

    Attributes:
        user_id: Claim ``sub``.
        session_id: Claim ``sid``.
        expires_at: Claim ``exp``, seconds since 1970 (NumericDate, RFC 7519 section 2).
        issued_at: Claim ``iat``, likewise.
        token_id: Claim ``jti``.
        client_id: Claim ``client_id``.
    """

    user_id: UUID
    session_id: UUID
    expires_at: int
    issued_at: int
    token_id: str
    client_id: str

    @property
    def lives_s(self) -> int:
        """How long the token is valid, from its issue to its expiry."""
        return self.expires_at - self.issued_at


@dataclass(frozen=True, slots=True)
class RefreshGrant:
    """What a refresh token with a right MAC names; whether it is live only the database knows."""

    session_id: UUID
    generation: int


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login or a refresh hands out."""

    access_token: str
    refresh_token: str


@dataclass(frozen=True, slots=True)
class DeviceGrant:
    """What a device token says.

    Attributes:
        user_id: Who has logged in from the device; it means nothing for anybody else.
        device_id: The device, as far as that user is concerned.
        expires_at: In seconds since 1970.
    """

    user_id: UUID
    device_id: UUID
    expires_at: int
