"""The application: one whole request in, one answer out, whatever happens between."""

import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import count
from time import perf_counter
from typing import Final

from tidegate.api.errors import Refuser, outcome_of
from tidegate.api.http import Answer, Headers, Request
from tidegate.api.routing import Router
from tidegate.api.turnstile import LOGIN_PATH, TurnedAway
from tidegate.domain.errors import DeadlineExceeded, RequestTooLarge, TidegateError, UserDisabled, WrongPassword

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
"""Of the caller's own request id we take what can do no harm in a log, else we make one."""


class Application:
    """Answers the requests of one listening port.

    Args:
        router: Where requests go.
        turnstile: Turns away, by its octets, what need not even be parsed.
        refuser: What is said when they go wrong.
        trusted_hops: How many proxies before us are ours; 0: the address is the socket's.
        on_seen: Told of every request, once it is answered or its client has gone.
    """

    def __init__(
        self,
        *,
        router: Router,
        turnstile: Callable[[bytes], TurnedAway | None],
        refuser: Refuser,
        trusted_hops: int,
        on_seen: Callable[[Request, int | None], None],
    ) -> None:
        self._router = router
        self._turnstile = turnstile
        self._refuser = refuser
        self._trusted_hops = trusted_hops
        self._id_prefix = secrets.token_hex(6)
        self._serial = count()
        self.seen = on_seen

    def request(
        self, *, method: str, path: str, query: bytes, headers: Headers, peer: str | None, body: bytes, is_whole: bool
    ) -> Request:
        """Return the request that came so, with an id and the address of its client."""
        address = peer
        if self._trusted_hops:
            address = client_address(peer, headers.get(b"x-forwarded-for", ()), trusted_hops=self._trusted_hops)
        given_id = headers[b"x-request-id"][-1] if b"x-request-id" in headers else b""
        return Request(
            method=method,
            path=path,
            query=query,
            headers=headers,
            address=address,
            request_id=self._request_id(given_id),
            started=perf_counter(),
            body=body,
            is_whole=is_whole,
        )

    def turned_away(self, octets: bytes, peer: str | None) -> tuple[Request, Answer] | None:
        """Return the answer to *octets* that need not be parsed for it, and the request as far as it is known, or None."""
        found = self._turnstile(octets)
        if found is None:
            return None
        request = Request(
            method="POST",
            path=LOGIN_PATH,
            query=b"",
            headers={},
            address=peer,
            request_id=self._request_id(found.given_id),
            started=perf_counter(),
            route=LOGIN_PATH,
            outcome=outcome_of(found.refusal),
        )
        return request, self._refuser.later(found.refusal)

    async def answer(self, request: Request) -> Answer:
        """Answer *request*; only a cancellation is raised."""
        try:
            route = self._router.find(request)
            if not request.is_whole:
                raise RequestTooLarge
            return await route.endpoint(request)
        except TidegateError as refusal:
            return self._refused(request, refusal)
        except Exception as bug:  # whatever it is, the client gets an answer and the log a line
            request.outcome, request.fault = "internal_error", bug
            return self._refuser.internal(request)
        finally:
            request.body = b""  # may hold a password

    def gone(self, request: Request) -> None:
        """Tell of *request*, whose client went before it was whole."""
        with suppress(TidegateError):
            self._router.find(request)
        request.outcome = "client_gone"
        self.seen(request, None)

    def late(self, request: Request) -> Answer:
        """Answer *request*, which is over its deadline."""
        return self._refused(request, DeadlineExceeded())

    def _request_id(self, given: bytes) -> str:
        return given.decode() if given and _REQUEST_ID.fullmatch(given) else f"{self._id_prefix}{next(self._serial):x}"

    def _refused(self, request: Request, refusal: TidegateError) -> Answer:
        if isinstance(refusal, (WrongPassword, UserDisabled)):
            request.user_id = refusal.user_id
        request.outcome = outcome_of(refusal)
        return self._refuser.answer(refusal, request)


def client_address(peer: str | None, forwarded: Sequence[bytes], *, trusted_hops: int) -> str | None:
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
