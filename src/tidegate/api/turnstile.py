"""Turns away logins that no thread will be free for, before they are parsed: in a storm nine in ten end here (ADR 0018).

Only what is written as nearly every client writes it is recognised; whatever is not goes the ordinary way, and is refused
there if its form is right. Here the form is not read: what is wrong with it is told once there is room.
"""

import re
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple, Protocol

from tidegate.api.cookies import DEVICE_COOKIE
from tidegate.api.http import BODY_BYTES_MAX
from tidegate.domain.errors import Unavailable
from tidegate.domain.lanes import Lane

LOGIN_PATH: Final = "/login"
LOGIN_LINE: Final = b"POST /login HTTP/1.1\r\n"

_HEADERS: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
"""Whole, and none of them folded (RFC 9112 section 5)."""

_UNUSUAL: Final = (b"transfer-encoding", b"\nexpect:", b"\nupgrade", b"problem+json", DEVICE_COOKIE)
"""In lower case: what frames the body, asks for another answer, or gives the request another lane."""

_CONNECTION: Final = b"connection:"
"""The parser heeds Proxy-Connection as well as Connection."""

_KEPT_ALIVE: Final = b"connection: keep-alive\r"

_LENGTH: Final = re.compile(rb"\ncontent-length: ([1-9][0-9]{0,4})\r")
_REQUEST_ID: Final = re.compile(rb"\nx-request-id:[ \t]*([^\r]*?)[ \t]*\r", re.IGNORECASE)
_FORM: Final = b"\ncontent-type: application/x-www-form-urlencoded\r"


CLOSED_S: Final = 0.01
"""Who was refused a place stands for whoever comes so soon after: a thread is done with a hash no sooner, and while logins
are refused more than a hundred others wait. What is asked for each of them is most of what a refusal costs."""


class RefuseIfFull(Protocol):
    """`ports.passwords.Passwords.refuse_if_full`."""

    def __call__(self, lane: Lane, /, *, besides: int) -> None:
        """See there."""


class TurnedAway(NamedTuple):
    """One login that was not even parsed.

    Attributes:
        given_id: Its X-Request-Id, or nothing.
        refusal: Why; the same for all that come in `CLOSED_S`.
    """

    given_id: bytes
    refusal: Unavailable


class Turnstile:
    """Knows a login by its octets, and whether there is a place for it by asking now and then.

    Args:
        refuse_if_full: `ports.passwords.Passwords.refuse_if_full`.
        is_crowded: Whether anybody waits; while nobody does, everything goes the ordinary way.
        clock: Seconds.
    """

    def __init__(
        self, *, refuse_if_full: RefuseIfFull, is_crowded: Callable[[], bool], clock: Callable[[], float] = monotonic
    ) -> None:
        self._refuse_if_full = refuse_if_full
        self._is_crowded = is_crowded
        self._clock = clock
        self._refusal: Unavailable | None = None
        self._closed_until = 0.0
        self._turned_away = 0

    def __call__(self, octets: bytes) -> TurnedAway | None:
        """Return the refusal of what *octets* ask for; None unless they are one whole login that is to be refused."""
        if not (octets.startswith(LOGIN_LINE) and self._is_crowded()):
            return None
        headers = _HEADERS.match(octets, len(LOGIN_LINE))
        if headers is None:
            return None
        end = headers.end()
        # From the end of the request line, so that each header stands behind a line feed.
        head = octets[len(LOGIN_LINE) - 1 : end].lower()
        length = _LENGTH.search(head)
        if length is None or len(octets) - end != (size := int(length[1])) or size > BODY_BYTES_MAX:
            return None
        if head.count(b"content-") != 2 or _FORM not in head or head.count(_CONNECTION) != head.count(_KEPT_ALIVE):
            return None
        for unusual in _UNUSUAL:  # a regular expression takes three times as long
            if unusual in head:
                return None
        refusal = self._refused()
        if refusal is None:
            return None
        given = _REQUEST_ID.search(octets, 0, end) if b"\nx-request-id:" in head else None
        return TurnedAway(given[1] if given else b"", refusal)

    def _refused(self) -> Unavailable | None:
        now = self._clock()
        if now < self._closed_until:
            self._turned_away += 1
            return self._refusal
        besides, self._turned_away = self._turned_away, 0
        try:
            self._refuse_if_full(Lane.LOGIN, besides=besides)
        except Unavailable as refusal:
            self._refusal = refusal.with_traceback(None)
            self._closed_until = now + CLOSED_S
            return refusal
        return None
