"""Serves HTTP/1.1 on a listening socket, within limits of size and time: httptools parses, we answer (ADR 0011).

A protocol of our own, because at the price of a cached `/me` the server is the request: what uvicorn does for every ASGI
application costs more than all that Tidegate does besides. What is spoken is deliberately little: requests with bodies of a
few kilobytes, answers that are whole before they are sent, keep-alive, pipelining; no upgrade, no trailers, no TLS.
"""

import asyncio
import re
import socket
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from itertools import takewhile
from time import time
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools

from tidegate.api.app import Application
from tidegate.api.begun import resumed
from tidegate.api.clients import CLIENT, Client
from tidegate.api.errors import ANSWERS, Told, fixed_body
from tidegate.api.http import BODY_BYTES_MAX, Answer, Headers, Request
from tidegate.api.listening import admit_nobody_else, is_somebody_waiting
from tidegate.api.turnstile import LOGIN_LINE
from tidegate.domain.errors import InvalidRequest, RequestTooLarge

HEAD_BYTES_MAX: Final = 16 * 1024
"""Request line and headers together: twice what most servers and proxies take."""

DISCARDED_BYTES_MAX: Final = 1024 * 1024
"""How much of a body over the limit is read to its end before it is refused."""

_PIPELINED_MAX: Final = 16
"""Requests of one connection that may wait for the answer to an earlier one; then nothing more is read from it."""

_LINGER_S: Final = 1.0
"""How long a refused client may go on sending before the connection is closed: closing at once would reset it, and the
answer would be lost with it (RFC 9112 section 9.6)."""

_LATE_S: Final = 0.25
"""How long the last connections may take to say what they want: a balancer says it as soon as it is let in."""

_HALF_IN_S: Final = 0.05
"""How long a balancer may take to hear that it was let in, and to say that it has heard: some round trips."""

_POLL_S: Final = 0.002

_SWEEP_INTERVAL_S: Final = 0.1
"""How often deadlines are looked at: one look at the oldest costs less than a timer a request."""

_UPGRADE: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
"""No other protocol is spoken here, and an offer of one may be passed over (RFC 9110 section 7.8). The parser would take
what follows the head for the other protocol and lose the body; Java's client offers h2c with its first request."""

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\ndate: ".encode() for status in HTTPStatus if status >= 200
}


class _Refused(Exception):  # noqa: N818 - caught by the parser that called us
    """Raised inside a parser callback to stop it; says with what to refuse."""

    def __init__(self, told: Told) -> None:
        super().__init__(told.status)
        self.told = told


class HttpServer:
    """One listening socket and its connections.

    Args:
        application: Answers whole requests.
        request_deadline_s: From a request's last byte to its answer (promise P10).
        receive_deadline_s: From a request's first byte, or the connection's opening, to its last byte; and for a client
            that does not read its answers.
        keep_alive_s: How long a connection may rest between requests.
        is_uniform: The hardened profile: that a client ended its sending changes no answer (ADR 0013).
    """

    def __init__(
        self,
        *,
        application: Application,
        request_deadline_s: float,
        receive_deadline_s: float,
        keep_alive_s: float,
        is_uniform: bool,
    ) -> None:
        self.application = application
        self.is_uniform = is_uniform
        self.connections: set[Connection] = set()
        self.date = b""
        self.is_leaving = False
        self.is_stopping = False
        self._all_gone = asyncio.Event()
        # Each in the order of its times, oldest first: a sweep looks at those that are due and no others.
        self.receiving: dict[Connection, float] = {}
        self.answering: dict[Connection, float] = {}
        self.resting: dict[Connection, float] = {}
        self.stalled: dict[Connection, float] = {}
        self.closing: dict[Connection, float] = {}
        self._deadlines = (
            (self.receiving, receive_deadline_s, Connection.cut),
            (self.stalled, receive_deadline_s, Connection.cut),
            (self.closing, receive_deadline_s, Connection.cut),
            (self.answering, request_deadline_s, Connection.give_up),
            (self.resting, keep_alive_s, Connection.end),
        )

    async def serve(
        self, listener: socket.socket, *, until: asyncio.Event, drain_s: float, backlog: int, notice_s: float = 0.0
    ) -> None:
        """Accept and answer until *until* is set, then let requests under way end, for *drain_s* at most.

        Args:
            listener: Bound; closed at the end.
            until: The signal to stop.
            drain_s: After that the connections that are left are cut.
            backlog: Connections that the kernel holds for us.
            notice_s: How long everything is still answered, before *drain_s* begins, while load balancers learn from
                /health/ready that they are to send the next to others. Else requests of theirs would be lost: a listening
                socket that is closed resets what the kernel has accepted, and a connection at rest that is closed may have
                a request on its way (ADR 0020).
        """
        loop = asyncio.get_running_loop()
        sweeping = asyncio.create_task(self._sweep())
        self._tell_time()
        accepting = await loop.create_server(lambda: Connection(self, loop), sock=listener, backlog=backlog)
        try:
            await until.wait()
            if notice_s:
                await self._take_leave(notice_s, listener)
                accepting.close()
                await asyncio.sleep(_LATE_S)
        finally:
            accepting.close()
            self.is_stopping = True
            for connection in list(self.connections):
                connection.end()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), drain_s if self.connections else 0)
            for connection in list(self.connections):
                connection.cut()
            sweeping.cancel()

    async def _take_leave(self, notice_s: float, listener: socket.socket) -> None:
        """Go on as before for *notice_s*, but let each connection, new ones too, end with its next answer.

        Not every balancer hears of it. So in the end the kernel lets nobody else in, and whoever it has let in is taken.
        """
        self.is_leaving = True
        for connection in self.connections:
            connection.answer_once_more()
        await asyncio.sleep(notice_s)
        admit_nobody_else(listener)
        await asyncio.sleep(_HALF_IN_S)
        give_up_at = asyncio.get_running_loop().time() + _LATE_S
        # The event loop takes them; nothing tells when it has.
        while is_somebody_waiting(listener) and asyncio.get_running_loop().time() < give_up_at:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)

    def forget(self, connection: "Connection") -> None:
        """It is gone."""
        self.connections.discard(connection)
        for since_of, _, _ in self._deadlines:
            since_of.pop(connection, None)
        if self.is_stopping and not self.connections:
            self._all_gone.set()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL_S)
            self._tell_time()
            now = loop.time()
            for since_of, patience_s, act in self._deadlines:
                for connection in _due(since_of, now - patience_s):
                    act(connection)

    def _tell_time(self) -> None:
        self.date = formatdate(time(), usegmt=True).encode() + b"\r\n"


def _due(since_of: "dict[Connection, float]", before: float) -> "list[Connection]":
    """The first entries of *since_of*, those whose time is not after *before*."""
    return [connection for connection, _ in takewhile(lambda entry: entry[1] <= before, since_of.items())]


class Connection(asyncio.Protocol):
    """One client. Its requests are answered one after the other, in their order."""

    __slots__ = (
        "_address",
        "_body",
        "_body_size",
        "_client",
        "_head_bytes",
        "_headers",
        "_is_between",
        "_is_in_head",
        "_is_last",
        "_is_late",
        "_is_refused",
        "_is_writable",
        "_loop",
        "_parsed_head_bytes",
        "_parser",
        "_server",
        "_task",
        "_transport",
        "_url",
        "_waiting",
    )

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._address: str | None = None
        self._client = Client()
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._url = b""
        self._headers: Headers = {}
        self._body = b""
        self._body_size = 0
        self._head_bytes = 0
        self._parsed_head_bytes = 0
        self._is_between = True
        self._is_in_head = True
        self._is_last = server.is_leaving
        self._is_late = False
        self._is_refused = False
        self._is_writable = True

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client that connects and says nothing is slow too."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else None
        self._server.connections.add(self)
        self._server.receiving[self] = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the event loop's word for it
        """The client is gone. What it waits for is not begun; what is under way ends by itself, for it may be a write."""
        self._client.gone()
        self._waiting.clear()
        self._server.forget(self)
        if not self._is_in_head and not self._is_refused:
            with suppress(UnicodeDecodeError, httptools.HttpParserError):  # a target that would have been refused
                self._server.application.gone(self._request())

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the head has grown over its limit."""
        if self._is_refused:
            return
        if data.startswith(LOGIN_LINE) and self._turns_away(data):
            return
        if self._is_in_head:
            # The parser hands over a header only when it is whole, so what comes is counted before it is parsed.
            if self._head_bytes + len(data) > HEAD_BYTES_MAX and b"\r\n\r\n" not in data:
                self._refuse(ANSWERS[RequestTooLarge])
                return
            self._head_bytes += len(data)
            if b"pgrade:" in data or b"PGRADE:" in data:
                data = _UPGRADE.sub(b"\r\nx-upgrade-passed-over:", data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(cause.told if isinstance(cause, _Refused) else ANSWERS[InvalidRequest])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(ANSWERS[InvalidRequest])

    def _turns_away(self, data: bytes) -> bool:
        """Answer *data*, if it is a request of its own that can be answered unparsed; whether it was."""
        if not self._is_between or self._task or not self._is_writable:
            return False
        application = self._server.application
        turned_away = application.turned_away(data, self._address)
        if turned_away is None:
            return False
        request, answer = turned_away
        self._server.receiving.pop(self, None)
        self._server.resting.pop(self, None)
        self._write(request, answer)
        application.seen(request, answer.status)
        return True

    def eof_received(self) -> bool:
        """The client will send no more; what it has asked is still answered."""
        self._is_last = True
        if not self._server.is_uniform:
            self._client.sends_no_more()
        if self._task is None or self._is_refused:
            self._close()
        return True  # else the event loop closes, and waits for ever for a client that does not read

    def pause_writing(self) -> None:
        """The client reads too slowly: nothing more is answered until it has."""
        self._is_writable = False
        self._server.stalled[self] = self._loop.time()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._is_writable = not self._transport.is_closing()
        self._server.stalled.pop(self, None)
        self._next()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_between = False
        server = self._server
        server.resting.pop(self, None)
        server.receiving.setdefault(self, self._loop.time())
        self._url = b""
        self._headers = {}
        self._body = b""
        self._body_size = 0
        self._parsed_head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._parsed_head_bytes += len(url)
        if self._parsed_head_bytes > HEAD_BYTES_MAX:
            raise _Refused(ANSWERS[RequestTooLarge])
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        self._parsed_head_bytes += len(name) + len(value) + 4
        if self._parsed_head_bytes > HEAD_BYTES_MAX:
            raise _Refused(ANSWERS[RequestTooLarge])
        name = name.lower()
        if name in self._headers:
            self._headers[name].append(value)
        else:
            self._headers[name] = [value]

    def on_headers_complete(self) -> None:
        """The head is whole; what is announced and too large is refused now."""
        self._is_in_head = False
        headers = self._headers
        # The parser has refused what is not one number.
        announced = int(headers[b"content-length"][0]) if b"content-length" in headers else 0
        expects_go_ahead = b"expect" in headers and headers[b"expect"][-1].lower() == b"100-continue"
        if announced > (BODY_BYTES_MAX if expects_go_ahead else DISCARDED_BYTES_MAX):
            raise _Refused(ANSWERS[RequestTooLarge])
        if expects_go_ahead and self._task is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body; of one over the limit only the size is kept."""
        self._body_size += len(body)
        if self._body_size <= BODY_BYTES_MAX:
            self._body += body
        elif self._body_size > DISCARDED_BYTES_MAX:
            raise _Refused(ANSWERS[RequestTooLarge])

    def on_message_complete(self) -> None:
        """The request is whole: answer it, or let it wait its turn."""
        self._is_between = True
        self._is_in_head = True
        self._head_bytes = 0
        self._server.receiving.pop(self, None)
        if not self._parser.should_keep_alive():
            self._is_last = True
        self._waiting.append(self._request())
        self._body = b""
        if self._task is None:
            self._next()
        elif len(self._waiting) >= _PIPELINED_MAX:
            self._transport.pause_reading()

    def _request(self) -> Request:
        """What has come, as far as it has."""
        target, _, query = self._target()
        path = target.decode("ascii")
        return self._server.application.request(
            method=self._parser.get_method().decode("ascii"),
            path=unquote(path) if "%" in path else path,
            query=query,
            headers=self._headers,
            peer=self._address,
            body=self._body,
            is_whole=self._body_size <= BODY_BYTES_MAX,
        )

    def _target(self) -> tuple[bytes, bytes, bytes]:
        if self._url.startswith(b"/"):
            return self._url.partition(b"?")
        url = httptools.parse_url(self._url)  # a proxy's absolute form (RFC 9112 section 3.2.2)
        return url.path or b"/", b"?", url.query or b""

    # What follows.

    def _next(self) -> None:
        """Answer the requests that wait, one after the other, as far as they may be answered now."""
        while self._waiting and self._is_writable and self._task is None:
            request = self._waiting.popleft()
            if len(self._waiting) == _PIPELINED_MAX - 1:
                self._transport.resume_reading()
            CLIENT.set(self._client)
            serving = self._serve(request)
            # Nine in ten answers of a crowd wait for nothing: they need no task, which would cost as much as they do.
            try:
                awaited = serving.send(None)
            except StopIteration:
                continue
            self._server.answering[self] = self._loop.time()
            self._task = self._loop.create_task(self._finish(serving, awaited))
        if self._is_last and not self._waiting and self._task is None and self._is_writable:
            self.end()

    async def _finish(self, serving: Coroutine[Any, None, None], awaited: object) -> None:
        try:
            await resumed(serving, awaited)
        finally:
            self._task = None
        self._next()

    async def _serve(self, request: Request) -> None:
        application = self._server.application
        try:
            answer = await application.answer(request)
        except asyncio.CancelledError:
            if not self._is_late:
                raise
            answer = application.late(request)
        finally:
            self._server.answering.pop(self, None)
        self._is_late = False
        if self._transport.is_closing():
            request.outcome = "client_gone"
            application.seen(request, None)
            return
        self._write(request, answer)
        application.seen(request, answer.status)

    def _write(self, request: Request, answer: Answer) -> None:
        closes = self._is_last and not self._waiting
        is_unmodified = answer.status == 304  # RFC 9110 section 8.6: there is no content to measure
        body = b"" if is_unmodified or request.method == "HEAD" else answer.body
        head = b"%b%b%bx-request-id: %b\r\n%b%b\r\n" % (
            _STATUS_LINES[answer.status],
            self._server.date,
            b"".join([b"%b: %b\r\n" % header for header in answer.headers]),
            request.request_id.encode(),
            b"connection: close\r\n" if closes else b"",
            b"" if is_unmodified else b"content-length: %d\r\n" % len(answer.body),
        )
        self._transport.write(head + body)
        if closes:
            self._close()
        elif self not in self._server.receiving:
            self._server.resting[self] = self._loop.time()

    def answer_once_more(self) -> None:
        """Close behind the next answer, and say so with it."""
        self._is_last = True

    def end(self) -> None:
        """Close once what has been asked is answered."""
        self._is_last = True
        if self._task is None and not self._waiting:
            self._close()

    def _close(self) -> None:
        """Close once the client has read what it was told, or its time for that is over."""
        if not self._transport.is_closing():
            # What the parser still has goes unanswered, so it must not be done either (RFC 9112 section 9.6).
            self._is_writable = False
            self._server.resting.pop(self, None)
            self._server.closing[self] = self._loop.time()
            self._transport.close()

    def cut(self) -> None:
        """Close now, whatever is under way."""
        self._server.receiving.pop(self, None)
        self._transport.abort()

    def give_up(self) -> None:
        """The request under way is over its deadline: end it and say so."""
        self._server.answering.pop(self, None)
        if self._task is not None:
            self._is_late = True
            self._task.cancel()

    def _refuse(self, told: Told) -> None:
        """Answer what cannot be parsed, throw away what still comes, and close."""
        self._is_refused = self._is_last = True
        self._server.receiving.pop(self, None)
        if self._task is not None or self._waiting:
            return  # the answers to whole requests go out first, and the last of them closes
        body = fixed_body(told.status, told.message)
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\ncache-control: no-store\r\n"
        self._transport.write(
            b"".join((_STATUS_LINES[told.status], self._server.date, head.encode(), b"connection: close\r\n\r\n", body))
        )
        if self._transport.can_write_eof():
            self._transport.write_eof()  # the client need not wait to know that this was all
        self._loop.call_later(_LINGER_S, self._close)
