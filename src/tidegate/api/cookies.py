"""The one cookie that we set: the device token, which a browser keeps without being asked."""

from dataclasses import dataclass
from typing import Final

from tidegate.api.http import Header, Request

DEVICE_COOKIE: Final = b"tidegate_device"
_PATH: Final = "/login"
"""Nothing else needs it, so nothing else is sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCookie:
    """Reads it and sets it (RFC 6265). A client without cookies sends the header Cookie by itself.

    No script can read it, no other site can make it be sent with a form, and whoever plants another's gains nothing: it is
    bound to its user and opens nothing.

    Attributes:
        is_secure: Sent over https only.
        max_age_s: How long the client keeps it.
    """

    is_secure: bool
    max_age_s: int

    def read(self, request: Request) -> str | None:
        """The token that *request* carries, as it came."""
        for line in request.header_values(b"cookie"):
            for pair in line.split(b";"):
                name, _, value = pair.partition(b"=")
                if name.strip() == DEVICE_COOKIE:
                    return value.strip().decode("latin-1")
        return None

    def set(self, token: str) -> Header:
        """The header that gives *token* to the client."""
        secure = "; Secure" if self.is_secure else ""
        kept = f"Max-Age={self.max_age_s}; HttpOnly; SameSite=Lax{secure}"
        return (
            b"set-cookie",
            f"{DEVICE_COOKIE.decode()}={token}; Path={_PATH}; {kept}".encode(),
        )
