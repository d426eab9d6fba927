"""The ASGI application: one request in, one answer out, one log line and one count for it, within its deadline."""

import asyncio
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from time import perf_counter
from typing import Final

from tidegate.api.errors import Refuser, outcome_of
from tidegate.api.http import Answer, ClientGone, Header, Receive, Request, Scope, Send, read_body
from tidegate.api.routing import Router
from tidegate.domain.errors import DeadlineExceeded, TidegateError, UserDisabled, WrongPassword

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
"""Of the caller's own request id we take what can do no harm in a log, else we make one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is told of one request after its answer.

    Attributes:
        outcome: `ok`, or the word for what went wrong.
        status: None when the client was gone before it could be answered.
        duration_s: From the first line read to the answer handed over.
        fault: Only of a bug: the exception, whose text may hold anything and must not be logged.
    """

    request: Request
    outcome: str
    status: int | None
    duration_s: float
    fault: BaseException | None


class Application:
    """Serves the routes of one listening port.

    Args:
        router: Where requests go.
        refuser: What is said when they go wrong.
        deadline_s: From the request's head to its answer (promise P10).
        trusted_hops: How many proxies before us are ours; 0: the address is the socket's.
        on_seen: Told of every request.
    """

    def __init__(
        self, *, router: Router, refuser: Refuser, deadline_s: float, trusted_hops: int, on_seen: Callable[[Seen], None]
    ) -> None:
        self._router = router
        self._refuser = refuser
        self._deadline_s = deadline_s
        self._trusted_hops = trusted_hops
        self._on_seen = on_seen
        self._id_prefix = secrets.token_hex(6)
        self._serial = count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3.0, type http; others are not offered by our server)."""
        started = perf_counter()
        request = self._request(scope)
        outcome, fault = "ok", None
        answer: Answer | None = None
        try:
            async with asyncio.timeout(self._deadline_s):
                route = self._router.find(request)
                if route.reads_body:
                    request.body = await read_body(request.headers, receive)
                answer = await route.endpoint(request)
        except TidegateError as refusal:
            if isinstance(refusal, (WrongPassword, UserDisabled)):
                request.user_id = refusal.user_id
            outcome, answer = outcome_of(refusal), self._refuser.answer(refusal, request)
        except TimeoutError:
            late = DeadlineExceeded()
            outcome, answer = outcome_of(late), self._refuser.answer(late, request)
        except ClientGone:
            outcome = "client_gone"
        except Exception as bug:  # whatever it is, the client gets an answer and the log a line
            outcome, fault, answer = "internal_error", bug, self._refuser.internal(request)
        request.body = b""  # may hold a password
        if answer is not None:
            await _send(answer, request.request_id, send)
        self._on_seen(
            Seen(
                request=request,
                outcome=outcome,
                status=None if answer is None else answer.status,
                duration_s=perf_counter() - started,
                fault=fault,
            )
        )

    def _request(self, scope: Scope) -> Request:
        headers: list[Header] = scope["headers"]
        given_id, forwarded = b"", []
        for name, value in headers:
            if name == b"x-request-id":
                given_id = value
            elif name == b"x-forwarded-for":
                forwarded.append(value)
        request_id = given_id.decode() if _REQUEST_ID.fullmatch(given_id) else f"{self._id_prefix}{next(self._serial):x}"
        client = scope.get("client")
        address = client[0] if client and client[0] else None
        if self._trusted_hops:
            address = client_address(address, forwarded, trusted_hops=self._trusted_hops)
        return Request(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"],
            headers=headers,
            address=address,
            request_id=request_id,
        )


def client_address(peer: str | None, forwarded: list[bytes], *, trusted_hops: int) -> str | None:
    """Return the address of the client behind *trusted_hops* proxies of ours.

    Each proxy of ours appends the address it was called from to X-Forwarded-For, so the last *trusted_hops* entries are
    true and the first of those is the client; everything before was written by the client and proves nothing.
    """
    entries = [entry.strip().decode("latin-1") for line in forwarded for entry in line.split(b",")]
    if len(entries) < trusted_hops:
        return peer
    return _bare_address(entries[-trusted_hops]) or peer


def _bare_address(entry: str) -> str | None:
    """*entry* as an address without port and brackets, or None if it is not one."""
    bare = entry.partition("]")[0].removeprefix("[") if entry.startswith("[") else entry
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return None


async def _send(answer: Answer, request_id: str, send: Send) -> None:
    headers = [*answer.headers, (b"x-request-id", request_id.encode())]
    if answer.status != 304:  # RFC 9110 section 8.6: a 304 has no content to measure
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
