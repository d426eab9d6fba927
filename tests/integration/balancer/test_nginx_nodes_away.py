"""What nginx does when a node dies, stands still or is full, and at a reload: whom it asks, and what it never repeats."""

import asyncio
import signal
from pathlib import Path

from tests.support.balancers import answering, balanced_by_nginx, dying, status_told, waiting_for
from tests.support.waiting import until_so
from tests.support.wires import Wire, request

LOG_IN = request("POST", "/login", fields={"username": "alice", "password": "correct horse battery"})
ME = request("GET", "/me")


def test_what_a_node_took_and_died_of_is_never_sent_twice_if_it_may_have_been_done() -> None:
    """Both nodes read the login and end; it may have opened a session, so no other hears of it."""

    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(dying, dying) as here:
            for method, path in (("POST", "/login"), ("PATCH", "/me")):
                here.nodes[0].requests.clear()
                here.nodes[1].requests.clear()
                # Who has just died is left alone for a second, and then nobody is there to ask.
                while not here.requests:
                    assert await status_told(here.port, request(method, path, fields={"a": "b"})) == 503
                    await asyncio.sleep(0.05)
                assert len(here.requests) == 1

    asyncio.run(run())


def test_who_only_reads_is_answered_by_another_node() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(dying, answering()) as here:
            for _ in range(6):
                assert await status_told(here.port, ME) == 200
            assert here.nodes[0].requests != [], "the dying node was never asked, so this test has tried nothing"
            assert len(here.nodes[1].requests) == 6

    asyncio.run(run())


def test_what_never_reached_a_node_goes_to_another_whatever_it_is() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(answering(), answering()) as here:
            assert {await status_told(here.port, LOG_IN) for _ in range(4)} == {200}
            assert here.nodes[0].requests != [], "the node that is to die was never asked"
            here.nodes[0].requests.clear()
            here.nodes[1].requests.clear()
            here.close(0)
            for count in range(1, 11):
                assert await status_told(here.port, LOG_IN) == 200
                assert len(here.requests) == count

    asyncio.run(run())


def test_with_one_node_away_a_failure_of_the_other_costs_that_request_alone() -> None:
    """As in a rolling restart. Both count as failed then, and nginx would refuse everybody for a second."""

    async def run() -> None:
        answers = answering()
        doomed: list[bytes] = []

        async def dying_once(writer: asyncio.StreamWriter, seen: bytes) -> None:
            if doomed:
                await answers(writer, seen)
            else:
                doomed.append(seen)
                await dying(writer, seen)

        async with asyncio.timeout(60), balanced_by_nginx(dying_once, answers) as here:
            here.close(1)
            told = [await status_told(here.port, LOG_IN) for _ in range(20)]
            assert (told.count(503), told.count(200), len(doomed)) == (1, 19, 1)
            assert len(here.requests) == 20

    asyncio.run(run())


def test_a_refusal_is_handed_on_and_neither_repeated_nor_held_against_the_node() -> None:
    async def run() -> None:
        refusing = answering(b"full", status="503 Service Unavailable", headers=b"retry-after: 3\r\n")
        async with asyncio.timeout(60), balanced_by_nginx(refusing, refusing) as here:
            for count in range(1, 11):
                wire = await Wire.to(here.port)
                reply = await wire.ask(LOG_IN if count % 2 else ME)
                assert (reply.status, reply.headers["retry-after"], reply.body) == (503, "3", b"full")
                assert len(here.requests) == count
                wire.close()

    asyncio.run(run())


def test_what_a_node_never_answers_ends_by_the_deadline_and_is_asked_of_no_other() -> None:
    """Not even a GET: where the database is slow for all nodes, each of them would be asked by everybody."""

    async def run() -> None:
        never = waiting_for(asyncio.Event(), answering())
        async with asyncio.timeout(60), balanced_by_nginx(never, never, request_deadline_s=0.2) as here:
            assert await status_told(here.port, ME) == 503
            assert len(here.requests) == 1

    asyncio.run(run())


def test_when_no_node_lives_the_answer_has_the_contract_s_form_and_its_log_tells_no_identifier() -> None:
    async def run() -> None:
        async with asyncio.timeout(60), balanced_by_nginx(answering()) as here:
            here.close(0)
            wire = await Wire.to(here.port)
            reply = await wire.ask(request("GET", "/availability?username=alice"))
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert reply.json == {"code": "503", "message": "service unavailable"}
            assert reply.headers["cache-control"] == "no-store"
            wire.close()
            await until_so(lambda: '"status":503' in here.nginx.log.read_text(), "its log tells nothing")
            assert "alice" not in here.nginx.log.read_text()

    asyncio.run(run())


def test_a_reload_loses_no_request_and_a_stop_lets_those_under_way_end() -> None:
    async def run() -> None:
        may_answer = asyncio.Event()
        async with asyncio.timeout(60), balanced_by_nginx(waiting_for(may_answer, answering())) as here:
            before = here.workers()
            early = await Wire.to(here.port)
            asking = asyncio.ensure_future(early.ask(LOG_IN))
            await until_so(lambda: len(here.requests) == 1, "it never came to the node")
            here.nginx.process.send_signal(signal.SIGHUP)
            await until_so(lambda: here.workers() > before, "no new workers come")
            may_answer.set()
            assert (await asking).status == 200
            await until_so(lambda: not here.workers() & before, "the old workers stay")
            may_answer.clear()
            late = await Wire.to(here.port)
            asking = asyncio.ensure_future(late.ask(LOG_IN))
            await until_so(lambda: len(here.requests) == 2, "it never came to the node")
            here.nginx.process.send_signal(signal.SIGQUIT)
            await until_so(lambda: refuses(here.port), "it does not stop")
            may_answer.set()
            assert (await asking).status == 200
            early.close()
            late.close()
            assert await asyncio.to_thread(here.nginx.process.wait, 20) == 0

    asyncio.run(run())


def refuses(port: int) -> bool:
    listening = f"0100007F:{port:04X} 00000000:0000 0A"
    return listening not in Path("/proc/net/tcp").read_text()
