"""Five hundred clients drip what they send or read: the deadline cuts all of them, and meanwhile everybody else is served.

Nothing here goes by the clock: what is asserted is who was answered while all five hundred were still connected. How much
slower the others became is told (`pytest -s`), for it says more of the machine than of the server.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from statistics import quantiles
from time import perf_counter
from typing import Final

import pytest

from tests.support.client import PASSWORD, Person
from tests.support.holdings import at_rest, descriptors, must_be_given_back
from tests.support.lines import api_processes, process_of
from tests.support.nodes import Node
from tests.support.own_nodes import own_node
from tests.support.waiting import GIVE_UP_AFTER_S, until_so
from tests.support.wires import Wire, request, slow_reader
from tidegate.embedded.postgres import EmbeddedPostgres

DRIPPERS: Final = 500
RECEIVE_DEADLINE_MS: Final = "3000"

PACE_S: Final = 0.1
"""Between two drops. A request that came to its end so would take minutes."""

PIPELINED: Final = 8
"""Answers of 21 KB that a slow reader asks for: more than the kernel and the event loop hold for it (some 130 KB)."""

ASKED_BEFORE: Final = 400
"""Requests of the others without drippers, to compare with."""

HELLO: Final = request("GET", "/health/live")
LOGIN: Final = request("POST", "/login", fields={"username": "x" * 600, "password": PASSWORD})
PAGE: Final = request("GET", "/openapi.json")


@pytest.fixture(scope="module")
def node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    with own_node(postgres, API_PROCESSES="2", RECEIVE_DEADLINE_MS=RECEIVE_DEADLINE_MS) as node:
        yield node


@dataclass
class Dripper:
    """A client that has connected and been served once, and is slow from then on.

    Attributes:
        has_begun: Whether the server can know by now.
        heard: What came, the answer to the first request left out.
    """

    client: socket.socket
    drip: Callable[["Dripper"], Coroutine[None, None, None]]
    has_begun: bool = False
    heard: bytes = b""

    async def send_a_head(self) -> None:
        await self._send_slowly(LOGIN, at_once=1)

    async def send_a_body(self) -> None:
        await self._send_slowly(LOGIN, at_once=LOGIN.index(b"\r\n\r\n") + 5)

    async def read(self) -> None:
        """Until the server has no part in the connection: what its kernel holds for us is ours, so we may never hear."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.client, PAGE * PIPELINED)
        self.has_begun = True
        while octet := await loop.sock_recv(self.client, 1):
            self.heard += octet
            await asyncio.sleep(PACE_S)

    async def _send_slowly(self, whole: bytes, *, at_once: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.client, whole[:at_once])
        self.has_begun = True
        with suppress(ConnectionResetError, BrokenPipeError):
            for octet in whole[at_once:]:
                await asyncio.sleep(PACE_S)
                await loop.sock_sendall(self.client, bytes([octet]))
            raise AssertionError("the whole request was taken")
        with suppress(ConnectionResetError):
            self.heard = await loop.sock_recv(self.client, 1_000)


async def _connect(node: Node, drip: Callable[[Dripper], Coroutine[None, None, None]]) -> Dripper:
    client = await slow_reader(node.port)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, HELLO)
    assert (await loop.sock_recv(client, 1_000)).startswith(b"HTTP/1.1 200 ")
    return Dripper(client, drip)


@dataclass
class Others:
    """Users who poll /me on a connection to each API process.

    Attributes:
        seconds: How long each answer took.
        served: How many answers each process gave.
    """

    wires: list[tuple[Person, Wire]]
    seconds: list[float] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)

    async def ask(self) -> None:
        """Each once."""
        for person, wire in self.wires:
            asked_at = perf_counter()
            reply = await wire.ask(request("GET", "/me", token=person.access_token))
            self.seconds.append(perf_counter() - asked_at)
            assert reply.status == 200
            assert reply.json["userid"] == person.user_id
            process = process_of(reply)
            self.served[process] = self.served.get(process, 0) + 1

    @property
    def p99_ms(self) -> float:
        return quantiles(self.seconds, n=100)[-1] * 1000


async def _wires(node: Node, people: list[Person]) -> list[tuple[Person, Wire]]:
    """One of each person to each of the two processes."""
    found: dict[tuple[str, str], tuple[Person, Wire]] = {}
    for person in people:
        while sum(name == person.username for name, _ in found) < 2:
            wire = await Wire.to(node.port)
            process = process_of(await wire.ask(HELLO))
            if (person.username, process) in found:
                wire.close()
            else:
                found[person.username, process] = person, wire
    return list(found.values())


async def _drip_beside(node: Node, people: list[Person]) -> None:
    with ExitStack() as closing:
        await _drip_until_cut(node, people, closing)


async def _drip_until_cut(node: Node, people: list[Person], closing: ExitStack) -> None:
    wires = await _wires(node, people)
    for _, wire in wires:
        closing.callback(wire.close)
    alone, beside = Others(wires), Others(wires)
    while len(alone.seconds) < ASKED_BEFORE:
        await alone.ask()

    processes = api_processes(node)

    def connected() -> int:
        return sum(map(descriptors, processes)) - without

    without = sum(map(descriptors, processes))
    ways = [Dripper.send_a_head, Dripper.send_a_body, Dripper.read]
    drippers = [await _connect(node, ways[number % len(ways)]) for number in range(DRIPPERS)]
    for dripper in drippers:
        closing.callback(dripper.client.close)
    assert connected() == DRIPPERS
    dripping = [asyncio.create_task(dripper.drip(dripper)) for dripper in drippers]
    await until_so(lambda: all(dripper.has_begun for dripper in drippers), "not all have begun")

    beside_all: dict[str, int] = {}
    async with asyncio.timeout(GIVE_UP_AFTER_S):
        while connected():
            await beside.ask()
            if connected() == DRIPPERS:  # now, hence also when the answers came
                beside_all = dict(beside.served)
    print(f"p99 of /me: {alone.p99_ms:.1f} ms alone, {beside.p99_ms:.1f} ms beside {DRIPPERS} who drip")
    print(f"answers while all were connected: {sum(beside_all.values())}, until all were cut: {len(beside.seconds)}")

    assert len(beside_all) == len(processes), "a process served nobody else while all were connected"
    senders = [task for dripper, task in zip(drippers, dripping, strict=True) if dripper.drip is not Dripper.read]
    await asyncio.gather(*senders)
    for dripper, task in zip(drippers, dripping, strict=True):
        if dripper.drip is Dripper.read:
            assert len(dripper.heard) < len(PAGE) * PIPELINED
            task.cancel()
        else:
            assert dripper.heard == b"", "who is cut is not served"
    await asyncio.gather(*dripping, return_exceptions=True)


def test_five_hundred_drippers_are_cut_and_everybody_else_is_served_beside_them(node: Node) -> None:
    """Promise P10: nobody's slowness is another's. Not cut, they would hold their connections for as long as they like."""
    with node.client() as client:
        people = [client.person() for _ in range(2)]
    before = at_rest(node)
    asyncio.run(_drip_beside(node, people))
    must_be_given_back(node, before)
