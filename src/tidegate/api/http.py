"""The two shapes that every endpoint deals in, a request and an answer, and how a body is read."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from tidegate.domain.errors import InvalidAccessToken, RequestTooLarge

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

BODY_BYTES_MAX: Final = 8 * 1024
"""DESIGN section 4: the longest registration that makes sense is under 4 KiB."""

_DISCARDED_BYTES_MAX: Final = 1024 * 1024
"""How much of a body over the limit is read to the end, so that its sender hears the refusal."""

JSON_TYPE: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")

_INSIGNIFICANT: Final = str.maketrans("", "", ' \t"')
"""In a media type: white space around a parameter, and the quotes that its value may have (RFC 9110 section 5.6.6)."""

_DEVICE_LENGTH_MAX: Final = 255
"""The column is varchar(255); a User-Agent over it is cut."""


class ClientGone(Exception):  # noqa: N818 - not an error: nobody is left to be answered
    """The client hung up before its request was whole."""


@dataclass(slots=True)
class Request:
    """One request, whole: its body has been read within the limits.

    Attributes:
        method: In capitals.
        path: Percent-decoded.
        query: The part behind the question mark, raw.
        headers: As ASGI gives them: names in lower case, in order.
        address: The client's address, textual; None for a unix socket.
        request_id: For the log and the header X-Request-Id.
        route: The path's template once it has been found, such as ``/me/sessions/{id}``.
        path_value: What stands in the place of the template's ``{...}``.
        user_id: Whose request it is, as soon as that is known; for the log.
    """

    method: str
    path: str
    query: bytes
    headers: list[Header]
    address: str | None
    request_id: str
    body: bytes = b""
    route: str = "unknown"
    path_value: str = ""
    user_id: UUID | None = None

    def header(self, name: bytes) -> bytes | None:
        """The value of header *name* (lower case), or None; of several the first."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def header_values(self, name: bytes) -> list[bytes]:
        """The values of all headers *name* (lower case)."""
        return [value for key, value in self.headers if key == name]

    @property
    def media_type(self) -> str:
        """The type and parameters of Content-Type, in lower case without white space and quotes; empty if there is none.

        Of several headers it is no type at all: of two readers each might believe another.
        """
        return b",".join(self.header_values(b"content-type")).decode("latin-1").lower().translate(_INSIGNIFICANT)

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


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; Content-Length and X-Request-Id are added when it is sent."""

    status: int
    body: bytes = b""
    headers: list[Header] = field(default_factory=lambda: [JSON_TYPE, NO_STORE])


async def read_body(headers: list[Header], receive: Receive) -> bytes:
    """Read the body of one request.

    Raises:
        RequestTooLarge: Over `BODY_BYTES_MAX`. Up to `_DISCARDED_BYTES_MAX` are read and thrown away first: closing on a
            client that is still sending resets the connection, and the answer is lost with it.
        ClientGone: The client hung up or was cut for slowness.
    """
    expects_go_ahead = False
    announced = 0
    for name, value in headers:
        if name == b"content-length":
            announced = int(value)  # the parser has refused what is not a number
        elif name == b"expect":
            expects_go_ahead = True
    if announced > _DISCARDED_BYTES_MAX or (announced > BODY_BYTES_MAX and expects_go_ahead):
        raise RequestTooLarge

    message = await receive()
    body = _body_of(message)
    size = len(body)
    while message.get("more_body", False):
        message = await receive()
        part = _body_of(message)
        size += len(part)
        if size > _DISCARDED_BYTES_MAX:
            raise RequestTooLarge
        if size <= BODY_BYTES_MAX:
            body += part
    if size > BODY_BYTES_MAX:
        raise RequestTooLarge
    return body


def _body_of(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    return body
