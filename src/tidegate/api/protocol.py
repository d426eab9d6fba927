"""uvicorn's HTTP/1.1 protocol with what it lacks: a limit on the head, a deadline for receiving, refusals in our form."""

import asyncio
import re
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tidegate.api.errors import ANSWERS, Told, fixed_body
from tidegate.domain.errors import InvalidRequest, RequestTooLarge

HEAD_BYTES_MAX: Final = 16 * 1024
"""Request line and headers together: twice what most servers and proxies take."""

_LINGER_S: Final = 1.0
"""How long a refused client may go on sending before the connection is closed: closing at once would reset it, and the
answer would be lost with it (RFC 9112 section 9.6)."""


_UPGRADE: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
"""No other protocol is spoken here, and an offer of one may be passed over (RFC 9110 section 7.8). The parser would take
what follows the head for the other protocol and lose the body; Java's client offers h2c with its first request."""


class _HeadTooLarge(Exception):  # noqa: N818 - caught by the parser that called us
    """Raised inside a parser callback to stop it."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        receiving_since: Event loop time at which the head or body now being received began; None between requests. The
            sweep in `cut_slow_clients` reads it.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.receiving_since: float | None = None
        self._is_in_head = True
        self._head_bytes = 0
        self._parsed_head_bytes = 0
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's narrowing
        """Start the deadline: a client that connects and says nothing is slow too."""
        super().connection_made(transport)
        self.receiving_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the head has grown over its limit."""
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        if self._is_in_head:
            # The parser hands over a header only when it is whole, so what comes is counted before it is parsed.
            if self._head_bytes + len(data) > HEAD_BYTES_MAX and b"\r\n\r\n" not in data:
                self._refuse(ANSWERS[RequestTooLarge])
                return
            self._head_bytes += len(data)
            if b"pgrade:" in data or b"PGRADE:" in data:
                data = _UPGRADE.sub(b"\r\nx-upgrade-passed-over:", data)
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            is_ours = isinstance(error.__context__, _HeadTooLarge)
            self._refuse(ANSWERS[RequestTooLarge if is_ours else InvalidRequest])
        except httptools.HttpParserUpgrade:
            # An offer that came in pieces, or CONNECT: where the body ends is unknown now.
            self._refuse(ANSWERS[InvalidRequest])
        except httptools.HttpParserError:
            self._refuse(ANSWERS[InvalidRequest])

    def on_message_begin(self) -> None:
        """Start the deadline of the next request."""
        super().on_message_begin()
        self._parsed_head_bytes = 0
        self.receiving_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Count the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._parsed_head_bytes += size
        if self._parsed_head_bytes > HEAD_BYTES_MAX:
            raise _HeadTooLarge

    def on_headers_complete(self) -> None:
        """The head is whole: what comes now is the body."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole: no deadline for receiving runs until the next begins."""
        self._is_in_head = True
        self._head_bytes = 0
        self.receiving_since = None
        super().on_message_complete()

    def eof_received(self) -> None:
        """A refused client has heard enough."""
        if self._is_refused:
            self.transport.close()

    def _refuse(self, told: Told) -> None:
        """Answer what cannot be parsed, throw away what still comes, and close."""
        self._is_refused = True
        self.receiving_since = None
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            # An answer to an earlier request, or to this one, is under way: a second one would be taken for its end.
            self.cycle.keep_alive = False
            self.cycle.disconnected = not self.cycle.response_started
            self.cycle.message_event.set()
            if self.cycle.response_started:
                return
        body = fixed_body(told.status, told.message)
        head = f"HTTP/1.1 {told.status} {told.message}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}cache-control: no-store\r\nconnection: close\r\n\r\n".encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()  # the client need not wait to know that this was all
        self.loop.call_later(_LINGER_S, self.transport.close)


async def cut_slow_clients(server_state: ServerState, *, receive_deadline_s: float, interval_s: float = 1.0) -> None:
    """Close, for ever, the connections whose request has been under way for longer than *receive_deadline_s*.

    One look at all connections a second costs less than a timer a request.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval_s)
        too_old = loop.time() - receive_deadline_s
        for connection in list(server_state.connections):
            if not isinstance(connection, BoundedHttpProtocol):
                continue
            if connection.receiving_since is not None and connection.receiving_since < too_old:
                connection.transport.abort()
