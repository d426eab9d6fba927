"""Makes and reads device tokens: a user has logged in from this device before, so nobody else can lock them out there.

OWASP calls them device cookies. A token is base64url of

    octet  0       version, 1
    octets 1..16   user id
    octets 17..32  device id, random
    octets 33..36  when it expires, in seconds since 1970, big endian
    octets 37..68  HMAC-SHA256 (RFC 2104) over octets 0..36

It opens nothing: whoever steals one may guess on a counter of its own, and that is all.
"""

import struct
from collections.abc import Callable
from typing import Final
from uuid import UUID

from tidegate.domain.claims import DeviceGrant
from tidegate.tokens import base64url
from tidegate.tokens.macs import MAC_OCTETS, PurposeMac

_PURPOSE: Final = b"tidegate device token v1"
_BODY: Final = struct.Struct(">B16s16sI")
_VERSION: Final = 1
_CHARACTERS: Final = -(-(_BODY.size + MAC_OCTETS) * 8 // 6)


class DeviceTokenCodec:
    """Implements `ports.tokens.DeviceTokens`.

    Args:
        mac_key: The secret of the installation; what signs here is derived from it for this purpose alone.
        ttl_s: How long a token is good; it is renewed at a login in the second half of that.
        now: Seconds since 1970.
        new_id: Makes the id of a device, at random.
    """

    def __init__(self, *, mac_key: bytes, ttl_s: int, now: Callable[[], float], new_id: Callable[[], UUID]) -> None:
        self._mac = PurposeMac(mac_key, purpose=_PURPOSE)
        self._ttl_s = ttl_s
        self._now = now
        self._new_id = new_id

    def read(self, token: str) -> DeviceGrant | None:
        """See `ports.tokens.DeviceTokens.read`."""
        if len(token) != _CHARACTERS:
            return None
        try:
            octets = base64url.decode(token)
        except ValueError:
            return None
        body = octets[: _BODY.size]
        version, user_id, device_id, expires_at = _BODY.unpack(body)
        if not self._mac.is_of(body, octets[_BODY.size :]) or version != _VERSION or expires_at <= self._now():
            return None
        return DeviceGrant(UUID(bytes=user_id), UUID(bytes=device_id), expires_at)

    def renewed(self, user_id: UUID, known: DeviceGrant | None) -> str | None:
        """See `ports.tokens.DeviceTokens.renewed`."""
        now_s = int(self._now())
        if known is not None and known.expires_at - now_s > self._ttl_s // 2:
            return None
        device_id = self._new_id() if known is None else known.device_id
        body = _BODY.pack(_VERSION, user_id.bytes, device_id.bytes, now_s + self._ttl_s)
        return base64url.encode(body + self._mac(body))
