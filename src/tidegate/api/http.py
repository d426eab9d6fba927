"""The two shapes that every endpoint deals in, a request and an answer. Of msgspec: a third of the price of dataclasses."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from tidegate.domain.errors import InvalidAccessToken

Header = tuple[bytes, bytes]

Headers = dict[bytes, list[bytes]]
"""Of a request: the values of each name, in order. A request is asked for a handful of names, and has as many others."""

BODY_BYTES_MAX: Final = 8 * 1024
"""DESIGN section 4: the longest registration that makes sense is under 4 KiB."""

JSON_TYPE: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")

_INSIGNIFICANT: Final = str.maketrans("", "", ' \t"')
"""In a media type: white space around a parameter, and the quotes that its value may have (RFC 9110 section 5.6.6)."""

_PLAIN_MEDIA_TYPES: Final = {
    written.encode(): written for written in ("application/x-www-form-urlencoded", "application/json")
}
"""As nearly everybody writes them."""

_DEVICE_LENGTH_MAX: Final = 255
"""The column is varchar(255); a User-Agent over it is cut."""


class Request(msgspec.Struct):
    """One request.

    Attributes:
        method: In capitals.
        path: Percent-decoded.
        query: The part behind the question mark, raw.
        headers: Names in lower case.
        address: The client's address, textual; None for a unix socket.
        request_id: For the log and the header X-Request-Id.
        started: When it was whole, by `perf_counter`.
        is_whole: False for a body over the limit, of which nothing is kept.
        outcome: `ok`, or the word for what went wrong; for the log.
        fault: Only of a bug: the exception, whose text may hold anything and must not be logged.
        route: The path's template once it has been found, such as ``/me/sessions/{id}``.
        path_value: What stands in the place of the template's ``{...}``.
        user_id: Whose request it is, as soon as that is known; for the log.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    address: str | None
    request_id: str
    started: float = 0.0
    body: bytes = b""
    is_whole: bool = True
    outcome: str = "ok"
    fault: BaseException | None = None
    route: str = "unknown"
    path_value: str = ""
    user_id: UUID | None = None

    def header(self, name: bytes) -> bytes | None:
        """The value of header *name* (lower case), or None; of several the first."""
        values = self.headers.get(name)
        return values[0] if values else None

    def header_values(self, name: bytes) -> Sequence[bytes]:
        """The values of all headers *name* (lower case)."""
        return self.headers.get(name, ())

    @property
    def media_type(self) -> str:
        """The type and parameters of Content-Type, in lower case without white space and quotes; empty if there is none.

        Of several headers it is no type at all: of two readers each might believe another.
        """
        values = self.header_values(b"content-type")
        if len(values) == 1 and values[0] in _PLAIN_MEDIA_TYPES:
            return _PLAIN_MEDIA_TYPES[values[0]]
        return b",".join(values).decode("latin-1").lower().translate(_INSIGNIFICANT)

    @property
    def device(self) -> str | None:
        """What the client calls itself, cut to what is kept of it."""
        agent = self.header(b"user-agent")
        if not agent:
            return None
        text = agent.decode("utf-8", "replace").replace("\0", "")
        return text[:_DEVICE_LENGTH_MAX]

    def bearer_token(self) -> str:
        """The token of the Authorization header (RFC 6750 section 2.1).

        Raises:
            InvalidAccessToken: There is none, or more than one, or not of this scheme.
        """
        values = self.header_values(b"authorization")
        if not values:
            raise InvalidAccessToken(is_missing=True)
        scheme, _, token = values[0].partition(b" ")
        if len(values) > 1 or scheme.lower() != b"bearer":
            raise InvalidAccessToken(is_missing=len(values) == 1)
        return token.strip(b" ").decode("latin-1")


class Answer(msgspec.Struct, frozen=True):
    """One answer; Content-Length and X-Request-Id are added when it is sent."""

    status: int
    body: bytes = b""
    headers: list[Header] = msgspec.field(default_factory=lambda: [JSON_TYPE, NO_STORE])
