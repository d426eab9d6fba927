"""Makes requests out of the templates of a stream: everything that can be made beforehand is."""

from collections import deque
from typing import Final, Protocol

from bench.driver.answers import TokenPlace, token_place
from bench.orders import NUMBER_DIGITS, Opening, Stream

_STRIDE: Final = 48_271
"""Users are taken in leaps, for neighbours share a page of the table. A prime, so that all have their turn."""


class Session:
    """What one login left: two requests can be made of it.

    Args:
        access: The access token.
        refresh: The refresh token, or nothing.
    """

    __slots__ = ("access", "ready", "refresh")

    def __init__(self, access: bytes, refresh: bytes) -> None:
        self.access = access
        self.refresh = refresh
        self.ready = b""


class Asking(Protocol):
    """Where the requests of a stream come from."""

    def take(self) -> tuple[Session | None, bytes] | None:
        """The next request and the session that is busy with it; None while no session is free."""

    def give_back(self, session: Session | None, answer: bytes | None, /) -> None:
        """The request of *session* has had *answer*, None unless it was a good one."""


def template(host: str, head: str, body: str) -> bytes:
    """Return head and body as one format of bytes: `%` stands doubled, {number} has become `%07d`.

    The Content-Length is in it, unless the body holds a token.
    """
    raw_head = f"{head}Host: {host}\r\nUser-Agent: tidegate-bench\r\n".encode()
    raw_body = body.encode().replace(b"{number}", b"0" * NUMBER_DIGITS)
    if b"{refresh}" not in raw_body and raw_body:
        raw_head += b"Content-Length: %d\r\n" % len(raw_body)
    whole = raw_head + b"\r\n" + body.encode()
    return whole.replace(b"%", b"%%").replace(b"{number}", b"%%0%dd" % NUMBER_DIGITS)


class Numbered:
    """Each request is about the next user."""

    def __init__(self, format_: bytes, *, first: int, numbers: int) -> None:
        self._format = format_
        self._names = format_.count(b"%%0%dd" % NUMBER_DIGITS)
        self._first = first
        self._numbers = numbers
        self._at = 0

    def take(self) -> tuple[Session | None, bytes]:
        """See `Asking`."""
        self._at = (self._at + _STRIDE) % self._numbers if self._numbers > _STRIDE else (self._at + 1) % self._numbers
        number = self._first + self._at
        return None, self._format % ((number,) * self._names)

    def give_back(self, session: Session | None, answer: bytes | None, /) -> None:
        """See `Asking`: nothing is kept."""


class WithAccess:
    """Each request bears the access token of the next session, and may be asked again while it is under way."""

    def __init__(self, format_: bytes, sessions: list[Session]) -> None:
        whole = format_.replace(b"%%", b"%")
        self._requests = deque(whole.replace(b"{access}", session.access) for session in sessions)

    def take(self) -> tuple[Session | None, bytes]:
        """See `Asking`."""
        self._requests.rotate(-1)
        return None, self._requests[0]

    def give_back(self, session: Session | None, answer: bytes | None, /) -> None:
        """See `Asking`: nothing changes."""


class WithRefresh:
    """Each request hands in the refresh token of a session that waits, and keeps the one that comes back."""

    def __init__(self, format_: bytes, sessions: list[Session], *, place: TokenPlace) -> None:
        head, _, body = format_.replace(b"%%", b"%").partition(b"\r\n\r\n")
        self._head = head + b"\r\nContent-Length: "
        self._before, _, self._after = body.partition(b"{refresh}")
        self._fixed = len(self._before) + len(self._after)
        self._place = place
        self._free = deque(sessions)
        for session in sessions:
            self._prepare(session)

    def take(self) -> tuple[Session | None, bytes] | None:
        """See `Asking`."""
        if not self._free:
            return None
        session = self._free.popleft()
        return session, session.ready

    def give_back(self, session: Session | None, answer: bytes | None, /) -> None:
        """See `Asking`. Without a good answer the token that was sent is sent again."""
        assert session is not None
        if answer is not None:
            session.refresh = self._place.find(answer)
            self._prepare(session)
        self._free.append(session)

    def _prepare(self, session: Session) -> None:
        length = self._fixed + len(session.refresh)
        session.ready = b"%b%d\r\n\r\n%b%b%b" % (self._head, length, self._before, session.refresh, self._after)


def asking_of(stream: Stream, host: str, sessions: list[Session]) -> Asking:
    """Return where the requests of *stream* come from; *sessions* are its own."""
    format_ = template(host, stream.head, stream.body)
    if "{access}" in stream.head:
        return WithAccess(format_, sessions)
    if "{refresh}" in stream.body:
        return WithRefresh(format_, sessions, place=token_place(stream.refresh_at))
    return Numbered(format_, first=stream.first_number, numbers=stream.numbers)


class Logins(Numbered):
    """Opens sessions: keeps what the answers hold."""

    def __init__(self, opening: Opening, host: str) -> None:
        super().__init__(template(host, opening.head, opening.body), first=1, numbers=opening.sessions)
        self._access = token_place(opening.access_at)
        self._refresh = token_place(opening.refresh_at) if opening.refresh_at else None
        self.sessions: list[Session] = []

    def give_back(self, _session: Session | None, answer: bytes | None, /) -> None:
        """See `Asking`."""
        if answer is not None:
            refresh = self._refresh.find(answer) if self._refresh else b""
            self.sessions.append(Session(self._access.find(answer), refresh))
