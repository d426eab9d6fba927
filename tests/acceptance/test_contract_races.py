"""Two hundred clients want the same name at once: one gets it, the others hear 400, and there is one row."""

import asyncio
import json
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import urlencode

import pytest

from tests.support.client import FORM, JSON, fresh_name, fresh_phone_number
from tests.support.nodes import Node
from tests.support.own_nodes import own_node
from tests.support.tables import value
from tidegate.embedded.postgres import EmbeddedPostgres

CLIENTS: Final = 200


class Outcome(NamedTuple):
    """What one of them heard.

    Attributes:
        login: What logging in gave, at once after a registration that succeeded.
    """

    password: str
    status: int
    body: bytes
    reason: str
    login: int | None


class Rival:
    """A connection on which a registration waits, all but its last byte sent."""

    def __init__(self, port: int, kind: str, name: str, password: str) -> None:
        self._port = port
        self._name = {kind: name}
        self._password = password

    async def get_ready(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        content = json.dumps(self._name | {"password": self._password}).encode()
        request = _request("/register", JSON, content)
        self._last = request[-1:]
        self._writer.write(request[:-1])
        await self._writer.drain()

    async def go(self) -> Outcome:
        self._writer.write(self._last)
        status, headers, body = await self._answer()
        login = None
        if status == 200:
            self._writer.write(_request("/login", FORM, urlencode(self._name | {"password": self._password}).encode()))
            login, _, _ = await self._answer()
        self._writer.close()
        await self._writer.wait_closed()
        return Outcome(self._password, status, body, headers.get(b"tidegate-reason", b"").decode(), login)

    async def _answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in head[1:] if line)
        return int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers[b"content-length"]))


def _request(path: str, media_type: str, content: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def race(port: int, kind: str, spellings: list[str]) -> list[Outcome]:
    rivals = [
        Rival(port, kind, spellings[number % len(spellings)], f"the password of number {number}")
        for number in range(CLIENTS)
    ]
    async with asyncio.timeout(120):
        await asyncio.gather(*(rival.get_ready() for rival in rivals))
        return await asyncio.gather(*(rival.go() for rival in rivals))


def respelt(kind: str) -> list[str]:
    """Three spellings of one new name."""
    name, number = fresh_name(), fresh_phone_number()
    return {
        "username": [name, name.upper(), name.replace("user", "ｕｓｅｒ")],
        "email": [f"{name}@b\u00fccher.example", f"{name.upper()}@BU\u0308CHER.EXAMPLE", f"{name}@xn--bcher-kva.example"],
        "phone_number": [number, f"{number[:3]} {number[3:6]} {number[6:]}", f"{number[:3]}-({number[3:6]}).{number[6:]}"],
    }[kind]


@pytest.fixture(scope="module")
def patient_node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    """Two API processes that hash two hundred passwords however slowly the machine does, instead of refusing some."""
    with own_node(postgres, API_PROCESSES="2", HASH_WAIT_MS_MAX="110000", REQUEST_DEADLINE_MS="120000") as node:
        yield node


@pytest.mark.parametrize(
    ("kind", "spellings"), [("username", 1), ("username", 3), ("email", 3), ("phone_number", 3)], ids=str
)
def test_of_two_hundred_who_want_one_name_one_gets_it(kind: str, spellings: int, patient_node: Node) -> None:
    """And whoever gets it can log in at once, by whichever process of the node (promises P1 and P2)."""
    names = respelt(kind)[:spellings]
    outcomes = asyncio.run(race(patient_node.port, kind, names))

    (winner,) = [outcome for outcome in outcomes if outcome.status == 200]
    assert winner.body == b'{"code":"200","message":"success"}'
    assert winner.login == 200
    losers = [outcome for outcome in outcomes if outcome is not winner]
    assert {(loser.status, loser.body, loser.reason) for loser in losers} == {
        (400, b'{"code":"400","message":"invalid request"}', f"{kind}=taken")
    }
    with patient_node.client() as client:
        pairs = [client.form("/login", {kind: name, "password": winner.password}).json for name in names]
        assert client.form("/login", {kind: names[0], "password": losers[0].password}).status == 403
        stored = {client.get("/me", token=pair["access_token"]).json[kind] for pair in pairs}
    assert len(stored) == 1
    assert value(patient_node.dsn, f"SELECT count(*) FROM users WHERE {kind} = $1", stored.pop()) == 1


def test_registrations_of_other_names_do_not_hinder_each_other(patient_node: Node) -> None:
    """A name and an email that two want crosswise: nobody waits for the other for ever, nobody hears 500."""
    name, email = fresh_name(), f"{fresh_name()}@example.com"

    async def cross() -> list[int]:
        async def register(members: dict[str, str]) -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", patient_node.port)
            writer.write(_request("/register", JSON, json.dumps(members | {"password": "a password of ours"}).encode()))
            status = int((await reader.readline()).split()[1])
            writer.close()
            await writer.wait_closed()
            return status

        other_name, other_email = fresh_name(), f"{fresh_name()}@example.com"
        async with asyncio.timeout(60):
            return await asyncio.gather(
                *(
                    register(members)
                    for members in [
                        {"username": name, "email": other_email},
                        {"username": other_name, "email": email},
                        {"username": name, "email": email},
                    ]
                    * 10
                )
            )

    statuses = asyncio.run(cross())
    assert set(statuses) == {200, 400}
    assert 1 <= statuses.count(200) <= 2
