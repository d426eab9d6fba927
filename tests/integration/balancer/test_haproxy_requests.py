"""What HAProxy lets through to a node, what it adds to it, and what it refuses, by the configuration that we generate."""

import asyncio

import pytest

from tests.support.balancers import SMUGGLED, answering, balanced, said
from tests.support.waiting import until_so
from tests.support.wires import Wire, request

CONTRACT_400 = b'{"code":"400","message":"invalid request"}'
CONTRACT_413 = b'{"code":"413","message":"request too large"}'


def test_what_two_readers_could_read_otherwise_is_refused_before_a_node_hears_of_it() -> None:
    """Request smuggling: a request that one takes for one and the other for two."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering()) as here:
            for what, rest in SMUGGLED.items():
                heard = await said(here.port, b"POST /login HTTP/1.1\r\nHost: tidegate\r\n" + rest)
                assert heard.startswith(b"HTTP/1.1 400 "), what
                assert here.requests == [], what
            for line in (b"GET http://other/me HTTP/1.1", b"CONNECT a:80 HTTP/1.1", b"TRACE / HTTP/1.1"):
                assert (await said(here.port, line + b"\r\nHost: tidegate\r\n\r\n")).startswith(b"HTTP/1.1 400 "), line
            assert (await said(here.port, b"GET /me HTTP/1.1\r\n\r\n")).endswith(CONTRACT_400)
            http_2 = await Wire.to(here.port)
            http_2.writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert await http_2.reader.read(12) == b"HTTP/1.1 400"
            http_2.close()
            assert here.requests == []

    asyncio.run(run())


def test_what_is_only_written_oddly_reaches_a_node_as_everybody_writes_it() -> None:
    """HAProxy takes bare line feeds and folded lines, and nobody can forbid it that: but a node never sees them."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering()) as here:
            await said(here.port, b"GET /me HTTP/1.1\nHost: tidegate\nX-Odd: 1\n\n")
            await said(here.port, b"GET /me HTTP/1.1\r\nHost: tidegate\r\nX-Odd: 1\r\n  2\r\n\r\n")
            await said(here.port, b"POST /me HTTP/1.1\r\nHost: tidegate\r\nContent-Length: 1, 1\r\n\r\nA")
            bare, folded, listed = here.requests
            for each in here.requests:
                assert each.count(b"\n") == each.count(b"\r\n")
                assert b"\r\n " not in each
            assert b"\r\nx-odd: 1\r\n" in bare
            assert b"\r\nx-odd: 1" in folded
            assert listed.count(b"content-length: 1\r\n") == 1

    asyncio.run(run())


def test_the_client_s_address_is_the_balancer_s_to_tell() -> None:
    """TIDEGATE_TRUSTED_HOPS=1 believes the last entry; here there is only one."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering()) as here:
            await said(
                here.port,
                b"GET /me HTTP/1.1\r\nHost: tidegate\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 8.8.8.8, 7.7.7.7\r\n"
                b"Forwarded: for=9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
                b"Connection: X-Forwarded-For, upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nTE: trailers\r\n"
                b"Proxy-Connection: close\r\nKeep-Alive: 9\r\nTrailer: x\r\n\r\n",
            )
            (seen,) = here.requests
            assert seen.count(b"x-forwarded-for: 127.0.0.1\r\n") == 1
            assert seen.lower().count(b"forwarded") == 2
            assert b"x-forwarded-proto: http\r\n" in seen
            names = {line.partition(b":")[0] for line in seen.lower().split(b"\r\n")[1:] if line}
            assert names == {b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id"}

    asyncio.run(run())


def test_a_request_id_is_made_unless_the_client_s_can_do_no_harm() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering()) as here:
            for given in (b"abc-1", b'a"}b', b"x" * 65):
                await said(here.port, b"GET /me HTTP/1.1\r\nHost: tidegate\r\nX-Request-Id: %b\r\n\r\n" % given)
            kept, made, made_too = here.requests
            assert b"x-request-id: abc-1\r\n" in kept
            assert b'a"}b' not in made
            assert b"x" * 65 not in made_too

    asyncio.run(run())


def test_what_is_too_large_is_refused_before_a_node_hears_of_it() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering()) as here:
            head = b"POST /login HTTP/1.1\r\nHost: tidegate\r\n"
            heard = await said(here.port, head + b"Content-Length: 8193\r\n\r\n" + b"a" * 8193)
            assert heard.startswith(b"HTTP/1.1 413 ")
            assert heard.endswith(CONTRACT_413)
            assert b"\r\ncache-control: no-store\r\n" in heard
            assert (await said(here.port, head + b"X: " + b"h" * 7000 + b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
            assert here.requests == []
            largest = head + b"X: " + b"h" * 5900 + b"\r\nContent-Length: 8192\r\n\r\n" + b"a" * 8192
            assert (await said(here.port, largest)).startswith(b"HTTP/1.1 200 ")

    asyncio.run(run())


def test_whoever_sends_slowly_is_cut_here_and_no_node_hears_of_it() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering(), receive_deadline_s=0.5) as here:
            for piece in (b"POST /login HTT", b"POST /login HTTP/1.1\r\nHost: tidegate\r\nContent-Length: 9\r\n\r\nuser"):
                assert (await said(here.port, piece)).startswith(b"HTTP/1.1 408 "), piece
            assert here.requests == []

    asyncio.run(run())


def test_who_waits_longer_than_a_request_may_take_to_come_is_not_cut() -> None:
    """The deadline for reading an answer begins with the answer."""

    async def slowly(writer: asyncio.StreamWriter, seen: bytes) -> None:
        await asyncio.sleep(1.2)
        await answering()(writer, seen)

    async def run() -> None:
        async with asyncio.timeout(60), balanced(slowly, receive_deadline_s=0.4, request_deadline_s=5.0) as here:
            assert (await said(here.port, request("POST", "/login", fields={"username": "a"}))).startswith(b"HTTP/1.1 200 ")

    asyncio.run(run())


EDGE = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/openapi.json", "/docs")


@pytest.mark.parametrize("path", EDGE)
def test_what_is_the_same_for_everybody_is_asked_of_a_node_once(path: str) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering(headers=b"cache-control: public, max-age=240\r\n")) as here:
            for _ in range(3):
                assert (await said(here.port, request("GET", path))).endswith(b"ok")
            assert len(here.requests) == 1
            # With a credential, or a query, it is not "as everybody asks": that is never answered from here.
            assert (await said(here.port, request("GET", path, token="t"))).endswith(b"ok")
            for _ in range(2):  # each writing of a query would be an entry of its own: a way to fill the cache
                assert (await said(here.port, request("GET", f"{path}?x=1"))).endswith(b"ok")
            cookie = b"GET %b HTTP/1.1\r\nHost: tidegate\r\nCookie: tidegate_device=1\r\n\r\n" % path.encode()
            assert (await said(here.port, cookie)).endswith(b"ok")
            assert len(here.requests) == 5

    asyncio.run(run())


def test_an_answer_to_somebody_is_never_kept_even_if_a_node_should_call_it_public() -> None:
    """The other guard is the node's own Cache-Control: this one holds without it."""

    async def run() -> None:
        public = answering(b"mine", headers=b"cache-control: public, max-age=240, s-maxage=240\r\n")
        async with asyncio.timeout(60), balanced(public) as here:
            for path in ("/me", "/me/sessions", "/availability", *EDGE):
                await said(here.port, request("GET", path, token="alice"))
                here.nodes[0].requests.clear()
                await said(here.port, request("GET", path))
                assert len(here.requests) == 1, path

    asyncio.run(run())


def test_what_is_not_said_to_be_public_is_not_kept_at_the_edge_either() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering(headers=b"cache-control: private, no-cache\r\n")) as here:
            for _ in range(2):
                await said(here.port, request("GET", EDGE[0]))
            assert len(here.requests) == 2

    asyncio.run(run())


def test_connections_to_nodes_are_shared_by_clients() -> None:
    """A crowd in which each comes once must not cost a node a connection a request."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering()) as here:
            node = here.nodes[0]
            peers: set[object] = set()

            async def count(writer: asyncio.StreamWriter, seen: bytes) -> None:
                peers.add(writer.get_extra_info("peername"))
                await answering()(writer, seen)

            node.act = count
            for _ in range(20):
                await said(here.port, request("GET", "/me"))
            assert len(peers) <= 4  # one a thread of HAProxy, and one that is asked for before the other is back

    asyncio.run(run())


def test_who_hangs_up_is_no_longer_served() -> None:
    """So that nothing is hashed for clients who have gone."""

    async def run() -> None:
        async def never(_writer: asyncio.StreamWriter, _seen: bytes) -> None:
            await asyncio.Event().wait()

        # Deadlines that are not what ends it.
        async with asyncio.timeout(60), balanced(never, receive_deadline_s=120.0, request_deadline_s=120.0) as here:
            wire = await Wire.to(here.port)
            wire.writer.write(request("POST", "/login", fields={"username": "a"}))
            await until_so(lambda: here.requests != [], "it never came to the node")
            wire.close()
            await until_so(lambda: here.nodes[0].broken_off == 1, "the node goes on for nobody")

    asyncio.run(run())
