"""What HAProxy does when a node dies, stands still, takes leave or is full: whom it asks, and what it never repeats."""

import asyncio

from tests.support.balancers import RecordingNode, answering, balanced, dying, status_told, waiting_for
from tests.support.waiting import until_so
from tests.support.wires import Wire, request

LOG_IN = request("POST", "/login", fields={"username": "alice", "password": "correct horse battery"})
ME = request("GET", "/me")


def test_what_a_node_took_and_died_of_is_never_sent_twice_if_it_may_have_been_done() -> None:
    """Both nodes read the login and end; it may have opened a session, so no other hears of it."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced(dying, dying) as here:
            for count in range(1, 11):
                assert await status_told(here.port, LOG_IN) in {0, 502, 503}
                assert len(here.requests) == count
            here.nodes[0].requests.clear()
            here.nodes[1].requests.clear()
            for method in ("PATCH", "DELETE"):
                await status_told(here.port, request(method, "/me"))
            assert len(here.requests) == 2

    asyncio.run(run())


def test_who_only_reads_is_answered_by_another_node() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced(dying, answering()) as here:
            for _ in range(6):
                assert await status_told(here.port, ME) == 200
            assert here.nodes[0].requests != [], "the dying node was never asked, so this test has tried nothing"
            assert len(here.nodes[1].requests) == 6

    asyncio.run(run())


def test_what_never_reached_a_node_goes_to_another_whatever_it_is() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering(), answering()) as here:
            here.close(0)
            for count in range(1, 11):
                assert await status_told(here.port, LOG_IN) == 200
                assert len(here.requests) == count
            await here.until_status(1, "DOWN")

    asyncio.run(run())


def test_a_refusal_is_handed_on_and_neither_repeated_nor_held_against_the_node() -> None:
    """In a storm every node says 503 to nine in ten. Whoever takes it out for that takes out all of them."""

    async def run() -> None:
        refusing = answering(b"full", status="503 Service Unavailable", headers=b"retry-after: 3\r\n")
        async with asyncio.timeout(60), balanced(refusing, refusing) as here:
            for count in range(1, 31):
                wire = await Wire.to(here.port)
                reply = await wire.ask(LOG_IN if count % 2 else ME)
                assert (reply.status, reply.headers["retry-after"], reply.body) == (503, "3", b"full")
                assert len(here.requests) == count
                wire.close()
            await here.until_status(1, "UP")
            await here.until_status(2, "UP")
            assert {row["svname"]: row["chkfail"] for row in here.haproxy.statistics() if row["pxname"] == "nodes"}[
                "node-1"
            ] == "0"

    asyncio.run(run())


def test_a_node_that_takes_leave_gets_nothing_new_and_ends_what_it_has() -> None:
    async def run() -> None:
        may_answer = asyncio.Event()
        async with asyncio.timeout(60), balanced(waiting_for(may_answer, answering(b"first")), answering()) as here:
            leaving = here.nodes[0]
            early = [await Wire.to(here.port) for _ in range(4)]
            asking = [asyncio.ensure_future(wire.ask(LOG_IN)) for wire in early]
            await until_so(lambda: len(here.requests) == 4, "not all came to a node")
            assert leaving.requests != []
            leaving.ready = 503
            await here.until_status(1, "NOLB")
            before = len(leaving.requests)
            for _ in range(10):
                assert await status_told(here.port, LOG_IN) == 200
            assert len(leaving.requests) == before
            may_answer.set()
            assert {(await each).status for each in asking} == {200}
            assert leaving.broken_off == 0
            leaving.ready = 200
            await here.until_status(1, "UP")
            for wire in early:
                wire.close()

    asyncio.run(run())


def test_a_node_that_stands_still_gets_nothing_new_and_may_still_answer_what_it_has() -> None:
    """Its kernel still takes connections, so only its silence tells. A node that was merely slow loses nothing by it."""

    async def run() -> None:
        goes_on = asyncio.Event()
        async with asyncio.timeout(60), balanced(waiting_for(goes_on, answering()), answering()) as here:
            frozen, well = here.nodes
            wires = [await Wire.to(here.port) for _ in range(4)]
            asking = [asyncio.ensure_future(wire.ask(LOG_IN)) for wire in wires]
            await until_so(lambda: len(here.requests) == 4, "not all came to a node")
            stuck = len(frozen.requests)
            assert stuck
            frozen.ready = None
            await here.until_status(1, "DOWN")
            for _ in range(5):
                assert await status_told(here.port, LOG_IN) == 200
            assert len(frozen.requests) == stuck
            goes_on.set()
            assert {(await each).status for each in asking} == {200}
            assert len(well.requests) == 4 - stuck + 5  # what was stuck was not sent to it
            frozen.ready = 200
            await here.until_status(1, "UP")
            for wire in wires:
                wire.close()

    asyncio.run(run())


def test_what_a_node_never_answers_ends_by_the_deadline_and_is_asked_of_no_other() -> None:
    """Not even a GET: where the database is slow for all nodes, each of them would be asked by everybody."""

    async def run() -> None:
        never = waiting_for(asyncio.Event(), answering())
        async with asyncio.timeout(60), balanced(never, never, request_deadline_s=0.2) as here:
            for count, octets in enumerate((ME, LOG_IN), start=1):
                assert await status_told(here.port, octets) == 504
                assert len(here.requests) == count

    asyncio.run(run())


def test_when_no_node_is_ready_those_that_live_are_asked() -> None:
    """The database is away for all: JWKS and documents need none, and a node's own 503 says when to come back."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering(b"a"), answering(b"b")) as here:
            for node in here.nodes:
                node.ready = 503
            await here.until_status(1, "NOLB")
            await here.until_status(2, "NOLB")
            assert {await status_told(here.port, octets) for octets in (ME, LOG_IN) * 5} == {200}

    asyncio.run(run())


def test_when_no_node_lives_the_answer_has_the_contract_s_form() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced(answering()) as here:
            here.close(0)
            await here.until_status(1, "DOWN")
            await here.until_status(1, "DOWN", backend="last_resort")
            wire = await Wire.to(here.port)
            reply = await wire.ask(LOG_IN)
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert reply.json == {"code": "503", "message": "service unavailable"}
            assert reply.headers["cache-control"] == "no-store"
            wire.close()

    asyncio.run(run())


def test_who_finds_each_node_full_does_not_queue_here() -> None:
    """Nodes refuse in milliseconds what they have no place for; a queue before them would only hide that."""

    async def run() -> None:
        may_answer = asyncio.Event()
        late = waiting_for(may_answer, answering())
        async with asyncio.timeout(60), balanced(late, node_connections=1) as here:
            first = await Wire.to(here.port)
            asking = asyncio.ensure_future(first.ask(LOG_IN))
            await until_so(lambda: len(here.requests) == 1, "it never came to the node")
            assert await status_told(here.port, LOG_IN) == 503
            assert not asking.done()
            may_answer.set()
            assert (await asking).status == 200
            assert len(here.requests) == 1
            first.close()

    asyncio.run(run())


def test_the_node_with_the_fewest_logins_under_way_gets_the_next() -> None:
    """Whoever hashes slowly has the longer queue."""

    async def run() -> None:
        never = waiting_for(asyncio.Event(), answering())
        async with asyncio.timeout(60), balanced(never, answering()) as here:
            slow, fast = here.nodes
            wires = [await Wire.to(here.port) for _ in range(20)]
            asking = []
            for wire in wires:
                before = len(here.requests)
                asking.append(asyncio.ensure_future(wire.ask(LOG_IN)))
                await until_so(lambda before=before: len(here.requests) > before, "it never came to a node")  # type: ignore[misc] # bound now
                await asyncio.sleep(0)
            assert len(slow.requests) <= 3
            assert len(fast.requests) >= 17
            for each, wire in zip(asking, wires, strict=True):
                each.cancel()
                wire.close()

    asyncio.run(run())


def test_a_reload_loses_no_request() -> None:
    async def run() -> None:
        stop = asyncio.Event()
        told: list[int] = []

        async def client(port: int) -> None:
            wire = await Wire.to(port)
            while not stop.is_set():
                reply = await wire.ask(LOG_IN)
                told.append(reply.status)
                if reply.headers.get("connection") == "close":
                    wire.close()
                    wire = await Wire.to(port)
            wire.close()

        async with asyncio.timeout(60), balanced(answering(), answering()) as here:
            clients = [asyncio.ensure_future(client(here.port)) for _ in range(8)]
            configuration = here.haproxy.file.read_text()
            for _ in range(3):
                before = len(told)
                await until_so(lambda before=before: len(told) > before + 50, "nobody is answered")  # type: ignore[misc] # bound now
                await asyncio.to_thread(here.haproxy.reload, configuration)
            before = len(told)
            await until_so(lambda: len(told) > before + 50, "nobody is answered after the reload")
            stop.set()
            await asyncio.gather(*clients)
            assert set(told) == {200}
            assert len(told) == len(here.requests)

    asyncio.run(run())


def test_a_recording_node_writes_down_what_comes_and_nothing_of_health() -> None:
    """The tests above stand on it."""

    async def run() -> None:
        node = RecordingNode(0)
        async with asyncio.timeout(20), await asyncio.start_server(node.serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            for octets in (LOG_IN, request("GET", "/health/ready"), ME):
                assert await status_told(port, octets) == 200
            assert node.requests == [LOG_IN, ME]
            node.end()

    asyncio.run(run())
