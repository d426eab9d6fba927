"""A login is turned away unparsed only where parsing it would have led to the same answer."""

import contextlib

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.api.http import BODY_BYTES_MAX
from tidegate.api.turnstile import CLOSED_S, LOGIN_LINE, TurnedAway, Turnstile
from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
BODY = b"username=ada&password=correct+horse"
HEADERS = b"Host: tidegate.test\r\nUser-Agent: a-client/1.0\r\nAccept: */*\r\n" + FORM


class Pool:
    """Of places for hashes; it says what it was asked."""

    def __init__(self, *, is_full: bool = True, is_crowded: bool = True) -> None:
        self.is_full = is_full
        self.is_crowded = is_crowded
        self.now = 0.0
        self.asked: list[tuple[Lane, int]] = []
        self.turnstile = Turnstile(
            refuse_if_full=self.refuse_if_full, is_crowded=lambda: self.is_crowded, clock=lambda: self.now
        )

    def refuse_if_full(self, lane: Lane, *, besides: int) -> None:
        self.asked.append((lane, besides))
        if self.is_full:
            raise HashPoolSaturated(retry_after_s=3.0)


def a_login(headers: bytes = HEADERS, body: bytes = BODY, *, length: bytes | None = None) -> bytes:
    announced = b"Content-Length: %d\r\n" % len(body) if length is None else length
    return LOGIN_LINE + headers + announced + b"\r\n" + body


def turned_away(octets: bytes) -> TurnedAway | None:
    return Pool().turnstile(octets)


@pytest.mark.parametrize(
    "octets",
    [
        a_login(),
        a_login(HEADERS.lower()),
        a_login(HEADERS + b"Connection: keep-alive\r\n"),
        a_login(HEADERS + b"Cookie: other=1\r\n"),
        a_login(body=b"x" * BODY_BYTES_MAX),
        a_login(body=b"what is in it is not looked at: \r\n\r\n\0"),
    ],
)
def test_a_whole_login_that_finds_no_place_is_turned_away(octets: bytes) -> None:
    found = turned_away(octets)
    assert found is not None
    assert (found.given_id, found.refusal.retry_after_s) == (b"", 3.0)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(a_login()[:-1], id="cut short"),
        pytest.param(a_login() + a_login(), id="and the next"),
        pytest.param(LOGIN_LINE, id="no more than its first line"),
        pytest.param(LOGIN_LINE + b"\r\n", id="no header"),
        pytest.param(a_login(length=b""), id="no length"),
        pytest.param(a_login(body=b""), id="no body"),
        pytest.param(a_login(body=b"x" * (BODY_BYTES_MAX + 1)), id="too large"),
        pytest.param(a_login(length=b"Content-Length: 035\r\n"), id="a length that some read as octal"),
        pytest.param(a_login(length=b"Content-Length: 35\r\nContent-Length: 35\r\n"), id="two lengths"),
        pytest.param(a_login(length=b"Content-Length: 35\r\nTransfer-Encoding: chunked\r\n"), id="two ends"),
        pytest.param(a_login(HEADERS + b"Expect: 100-continue\r\n"), id="waits to be told to go on"),
        pytest.param(a_login(HEADERS + b"Upgrade: h2c\r\n"), id="another protocol"),
        pytest.param(a_login(HEADERS + b"Connection: close\r\n"), id="wants to be closed"),
        pytest.param(a_login(HEADERS + b"Connection: keep-alive, Upgrade\r\n"), id="wants two things"),
        pytest.param(a_login(HEADERS + b"Accept: application/problem+json\r\n"), id="the other form"),
        pytest.param(a_login(HEADERS + b"Cookie: a=1; tidegate_device=x\r\n"), id="a device with a lane of its own"),
        pytest.param(a_login(HEADERS.replace(FORM, b"Content-Type: application/json\r\n")), id="a registration"),
        pytest.param(a_login(HEADERS + FORM), id="two types"),
        pytest.param(a_login(HEADERS.replace(FORM, b"")), id="no type"),
        pytest.param(a_login(HEADERS + b" folded\r\n"), id="a folded header"),
        pytest.param(a_login(HEADERS + b"A: b\0c\r\n"), id="a control character"),
        pytest.param(a_login(HEADERS + b"A: b\nc: d\r\n"), id="a bare line feed"),
        pytest.param(a_login(HEADERS + b"A : b\r\n"), id="a space before the colon"),
        pytest.param(a_login().replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP/1.0"),
    ],
)
def test_whatever_is_unusual_goes_the_ordinary_way(octets: bytes) -> None:
    assert turned_away(octets) is None


def test_while_nobody_waits_nobody_is_asked_about() -> None:
    pool = Pool(is_crowded=False)
    assert pool.turnstile(a_login()) is None
    assert pool.asked == []


def test_who_finds_a_place_goes_the_ordinary_way() -> None:
    pool = Pool(is_full=False)
    assert pool.turnstile(a_login()) is None
    assert pool.asked == [(Lane.LOGIN, 0)]


def test_one_refusal_stands_for_those_that_follow_soon_and_they_are_counted() -> None:
    pool = Pool()
    assert all(pool.turnstile(a_login()) for _ in range(5))
    assert pool.asked == [(Lane.LOGIN, 0)]
    pool.now += CLOSED_S
    pool.is_full = False
    assert pool.turnstile(a_login()) is None
    assert pool.turnstile(a_login()) is None
    assert pool.asked == [(Lane.LOGIN, 0), (Lane.LOGIN, 4), (Lane.LOGIN, 0)]


def test_the_request_id_that_was_given_is_found() -> None:
    found = turned_away(a_login(HEADERS + b"X-Request-Id:  Of-The.Caller_7 \r\n"))
    assert found is not None
    assert found.given_id == b"Of-The.Caller_7"


class Parsed:
    """What httptools makes of octets."""

    def __init__(self, octets: bytes) -> None:
        self.requests: list[tuple[bytes, bytes, bytes, bool]] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self._url = self._body = b""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(octets)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.requests.append((self._parser.get_method(), self._url, self._body, self._parser.should_keep_alive()))


PIECES = st.sampled_from(
    [
        *(line + b"\r\n" for line in HEADERS.split(b"\r\n") if line),
        b"Content-Length: 3\r\n",
        b"content-length:3\r\n",
        b"Content-Length: 03\r\n",
        b"Content-Length: 3 \r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"TRANSFER-ENCODING: identity\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"connection:keep-alive\r\n",
        b"Proxy-Connection: close\r\n",
        b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" x\r\n",
        b"abc",
        b"\xff: \x80\r\n",
        b"A:\r\n",
        b"A\0: b\r\n",
        b"POST /login HTTP/1.1\r\n",
    ]
)


@given(st.one_of(st.lists(PIECES, max_size=9), st.lists(PIECES | st.binary(max_size=6), max_size=9)), st.booleans())
@example([b"Content-Length: 3\r\n"], True)
def test_what_is_turned_away_is_one_whole_login_to_the_parser_too(pieces: list[bytes], is_likely: bool) -> None:
    """Else what follows on the connection would be taken for another request than it is."""
    between = FORM + b"Content-Length: 3\r\n" + b"".join(pieces) + b"\r\n" if is_likely else b"".join(pieces)
    octets = LOGIN_LINE + between + b"abc"
    if turned_away(octets) is None:
        return
    parsed = Parsed(octets)
    assert parsed.requests == [(b"POST", b"/login", b"abc", True)]
    names = [name for name, _ in parsed.headers]
    assert names.count(b"content-type") == names.count(b"content-length") == 1
    assert not {b"transfer-encoding", b"upgrade", b"expect"}.intersection(names)
    assert dict(parsed.headers)[b"content-type"] == b"application/x-www-form-urlencoded"


@given(st.binary(max_size=200))
def test_no_octets_make_it_stumble(octets: bytes) -> None:
    with contextlib.suppress(httptools.HttpParserError):
        assert turned_away(LOGIN_LINE + octets) is None or Parsed(LOGIN_LINE + octets).requests
