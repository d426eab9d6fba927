"""Makes and reads refresh tokens: a session and a generation under a MAC, so that nothing but the generation is stored.

A token is base64url of

    octet  0       version, 1
    octets 1..16   session id
    octets 17..20  generation, big endian
    octets 21..52  HMAC-SHA256 (RFC 2104) over octets 0..20

The same session and generation always give the same token: that is how an answer that was lost can be given again (DESIGN
5.4, promise P7). Forging one needs the key; reading one tells an id that opens nothing.
"""

import struct
from typing import Final
from uuid import UUID

from tidegate.domain.claims import RefreshGrant
from tidegate.domain.errors import InvalidRefreshToken
from tidegate.tokens import base64url
from tidegate.tokens.macs import MAC_OCTETS, PurposeMac

_PURPOSE: Final = b"tidegate refresh token v1"
_BODY: Final = struct.Struct(">B16sI")
_VERSION: Final = 1
_CHARACTERS: Final = -(-(_BODY.size + MAC_OCTETS) * 8 // 6)


class RefreshTokenCodec:
    """Implements `ports.tokens.RefreshTokens`.

    Args:
        mac_key: The secret of the installation, the same on every node. What signs here is derived from it for this purpose
            alone, so that it may serve others too.

    Raises:
        ValueError: It is shorter than 32 octets.
    """

    def __init__(self, *, mac_key: bytes) -> None:
        self._mac = PurposeMac(mac_key, purpose=_PURPOSE)

    def make(self, session_id: UUID, generation: int) -> str:
        """Return the one token of *session_id* and *generation*."""
        body = _BODY.pack(_VERSION, session_id.bytes, generation)
        return base64url.encode(body + self._mac(body))

    def read(self, token: str) -> RefreshGrant:
        """Return what *token* names.

        Raises:
            InvalidRefreshToken: Not made by us.
        """
        if len(token) != _CHARACTERS:
            raise InvalidRefreshToken
        try:
            octets = base64url.decode(token)
        except ValueError:
            raise InvalidRefreshToken from None
        body, mac = octets[: _BODY.size], octets[_BODY.size :]
        version, session_id, generation = _BODY.unpack(body)
        if not self._mac.is_of(body, mac) or version != _VERSION:
            raise InvalidRefreshToken
        return RefreshGrant(UUID(bytes=session_id), generation)
