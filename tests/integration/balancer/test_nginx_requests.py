"""What nginx lets through to a node, what it adds to it, and what it refuses, by the configuration that we generate."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from tests.support.balancers import SMUGGLED, BalancedByNginx, answering, balanced_by_nginx, said, waiting_for
from tests.support.waiting import until_so
from tests.support.wires import Wire, request

CONTRACT_400 = b'{"code":"400","message":"invalid request"}'
CONTRACT_413 = b'{"code":"413","message":"request too large"}'
EDGES = ("/.well-known/jwks.json", "/docs")
EDGE = EDGES[0]


def kept_by(here: BalancedByNginx) -> list[Path]:
    """What it has in its cache; it answers a little earlier."""
    return [file for file in (here.nginx.folder / "cache").rglob("*") if file.is_file()]


def opened_by(pid: int) -> list[str]:
    return [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]


def test_what_two_readers_could_read_otherwise_is_refused_before_a_node_hears_of_it() -> None:
    """Request smuggling: a request that one takes for one and the other for two."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(answering()) as here:
            for line in (b"POST /login", b"GET " + EDGE.encode()):
                for what, rest in SMUGGLED.items():
                    heard = await said(here.port, line + b" HTTP/1.1\r\nHost: tidegate\r\n" + rest)
                    assert heard.startswith(b"HTTP/1.1 400 "), what
                    assert here.requests == [], what
            for line in (b"CONNECT a:80 HTTP/1.1", b"TRACE / HTTP/1.1"):
                assert (await said(here.port, line + b"\r\nHost: tidegate\r\n\r\n")).startswith(b"HTTP/1.1 40"), line
            assert (await said(here.port, b"GET /me HTTP/1.1\r\n\r\n")).endswith(CONTRACT_400)
            assert here.requests == []

    asyncio.run(run())


def test_what_is_only_written_oddly_reaches_a_node_as_everybody_writes_it() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(answering()) as here:
            await said(here.port, b"GET /me HTTP/1.1\nHost: tidegate\nX-Odd: 1\n\n")
            await said(here.port, b"GET http://other/me HTTP/1.1\r\nHost: tidegate\r\n\r\n")
            bare, absolute = here.requests
            assert bare.count(b"\n") == bare.count(b"\r\n")
            assert b"\r\nX-Odd: 1\r\n" in bare
            assert absolute.startswith(b"GET /me HTTP/1.1\r\nHost: tidegate\r\n")

    asyncio.run(run())


def test_the_client_s_address_is_the_balancer_s_to_tell() -> None:
    """TIDEGATE_TRUSTED_HOPS=1 believes the last entry; here there is only one."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(answering()) as here:
            for path in (b"/me", EDGE.encode()):
                await said(
                    here.port,
                    b"GET %b HTTP/1.1\r\nHost: tidegate\r\n"
                    b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 8.8.8.8, 7.7.7.7\r\nX_Forwarded_For: 9.9.9.9\r\n"
                    b"Forwarded: for=9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n"
                    b"X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n"
                    b"Connection: X-Forwarded-For, upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nTE: trailers\r\n"
                    b"Proxy-Connection: close\r\nKeep-Alive: 9\r\nTrailer: x\r\n\r\n" % path,
                )
                seen = here.requests.pop()
                here.nodes[0].requests.clear()
                assert seen.count(b"X-Forwarded-For: 127.0.0.1\r\n") == 1
                assert b"X-Forwarded-Proto: http\r\n" in seen
                names = [line.partition(b":")[0] for line in seen.lower().split(b"\r\n")[1:] if line]
                assert sorted(names) == [b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id"]

    asyncio.run(run())


def test_a_request_id_is_made_unless_the_client_s_can_do_no_harm() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(answering()) as here:
            for given in (b"abc-1", b'a"}b', b"x" * 65):
                await said(here.port, b"GET /me HTTP/1.1\r\nHost: tidegate\r\nX-Request-Id: %b\r\n\r\n" % given)
            kept, made, made_too = here.requests
            assert b"X-Request-Id: abc-1\r\n" in kept
            assert b'a"}b' not in made
            assert b"x" * 65 not in made_too

    asyncio.run(run())


def test_what_is_too_large_is_refused_before_a_node_hears_of_it() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(answering()) as here:
            head = b"POST /login HTTP/1.1\r\nHost: tidegate\r\n"
            heard = await said(here.port, head + b"Content-Length: 8193\r\n\r\n" + b"a" * 8193)
            assert heard.startswith(b"HTTP/1.1 413 ")
            assert heard.endswith(CONTRACT_413)
            assert b"\r\nCache-Control: no-store\r\n" in heard
            assert (await said(here.port, head + b"X: " + b"h" * 9000 + b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
            assert here.requests == []
            largest = head + b"X: " + b"h" * 5900 + b"\r\nContent-Length: 8192\r\n\r\n" + b"a" * 8192
            assert (await said(here.port, largest)).startswith(b"HTTP/1.1 200 ")
            assert here.requests[0].endswith(b"a" * 8192)

    asyncio.run(run())


def test_no_password_comes_to_lie_in_a_file() -> None:
    """The largest body goes to the node from memory."""

    async def run() -> None:
        late = waiting_for(asyncio.Event(), answering())
        async with asyncio.timeout(60), balanced_by_nginx(late) as here:
            head = b"POST /login HTTP/1.1\r\nHost: tidegate\r\nContent-Length: 8192\r\n\r\n"
            wire = await Wire.to(here.port)
            for piece in (head, b"a" * 4096, b"a" * 4096):  # a body that comes at once would not need its buffer
                wire.writer.write(piece)
                await asyncio.sleep(0.02)
            await until_so(lambda: here.requests != [], "it never came to the node")
            # While the answer is awaited; a file would have no name by then.
            opened = [target for pid in here.workers() for target in opened_by(pid)]
            assert any("socket:" in each for each in opened)
            assert [each for each in opened if "/temporary/" in each] == []
            wire.close()

    asyncio.run(run())


def test_no_node_hears_of_whoever_sends_slowly() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(answering(), receive_deadline_s=0.3) as here:
            for piece in (b"POST /login HTT", b"POST /login HTTP/1.1\r\nHost: tidegate\r\nContent-Length: 9\r\n\r\nuser"):
                wire = await Wire.to(here.port)
                wire.writer.write(piece)
                with contextlib.suppress(ConnectionResetError):
                    assert await wire.reader.read() == b""
                wire.close()
            assert here.requests == []

    asyncio.run(run())


def test_what_is_the_same_for_everybody_is_asked_of_a_node_once_and_nothing_else_is() -> None:
    async def run() -> None:
        public = answering(headers=b"cache-control: public, max-age=240\r\n")
        async with asyncio.timeout(60), balanced_by_nginx(public) as here:
            for path in EDGES:
                await said(here.port, request("GET", path))
                await until_so(lambda: len(kept_by(here)) > EDGES.index(path), "it is not kept")  # noqa: B023 - now
                for _ in range(3):
                    assert (await said(here.port, request("GET", path))).endswith(b"ok")
                assert len(here.requests) == 1
                # With a credential, or a query, it is not "as everybody asks": that is never answered from here.
                for _ in range(2):
                    await said(here.port, request("GET", path, token="t"))
                    await said(here.port, request("GET", f"{path}?x=1"))
                    await said(here.port, b"GET %b HTTP/1.1\r\nHost: a\r\nCookie: b=1\r\n\r\n" % path.encode())
                assert len(here.requests) == 7
                here.nodes[0].requests.clear()
            await said(here.port, request("GET", "/openapi.json", token="alice"))
            await asyncio.sleep(0.1)  # in which it would be kept
            await said(here.port, request("GET", "/openapi.json"))
            assert len(here.requests) == 2
            here.nodes[0].requests.clear()
            for path in ("/me", "/me/sessions", "/availability"):  # even if a node should call it public
                for count in (1, 2):
                    await said(here.port, request("GET", path, token="alice"))
                    assert len(here.requests) == count
                here.nodes[0].requests.clear()

    asyncio.run(run())


@pytest.mark.parametrize("cache_control", [b"private, no-cache", b"no-store"])
def test_what_is_not_said_to_be_public_is_not_kept_at_the_edge_either(cache_control: bytes) -> None:
    async def run() -> None:
        act = answering(headers=b"cache-control: %b\r\n" % cache_control)
        async with asyncio.timeout(60), balanced_by_nginx(act) as here:
            for _ in range(2):
                await said(here.port, request("GET", EDGE))
            assert len(here.requests) == 2

    asyncio.run(run())


def test_who_hangs_up_is_no_longer_served() -> None:
    """So that nothing is hashed for clients who have gone."""

    async def run() -> None:
        async def never(_writer: asyncio.StreamWriter, _seen: bytes) -> None:
            await asyncio.Event().wait()

        # Deadlines that are not what ends it.
        async with (
            asyncio.timeout(60),
            balanced_by_nginx(never, receive_deadline_s=120.0, request_deadline_s=120.0) as here,
        ):
            wire = await Wire.to(here.port)
            wire.writer.write(request("POST", "/login", fields={"username": "a"}))
            await until_so(lambda: here.requests != [], "it never came to the node")
            wire.close()
            await until_so(lambda: here.nodes[0].broken_off == 1, "the node goes on for nobody")

    asyncio.run(run())
