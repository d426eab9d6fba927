"""Counts what an API process does in Python for one request: the same each time, on whatever machine, however busy.

Seconds cannot be compared between machines, nor on one that others use. What Python does can be counted: how many functions
it calls, those written in C too, and how many instructions it executes. `python -m tests.support.work` counts anew and
writes `work_per_request.json`.
"""

import asyncio
import base64
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

import asyncpg
import msgspec
import uvloop

from tests.support.campaigns import CODE, make_campaign
from tests.support.databases import make_migrated_database
from tests.support.servers import own_server
from tidegate.api.server import Connection, HttpServer
from tidegate.observability.log import JsonLog
from tidegate.profiles.stamps import make_stamp_memory
from tidegate.settings_building import build_settings
from tidegate.tokens.keys import create_key_file
from tidegate.wiring.serving import SharedMemory, open_application

RECORDED: Final = Path(__file__).with_name("work_per_request.json")
"""By Python's minor version, which decides what its compiler makes of a line, then by request."""

REPETITIONS: Final = 40
"""The least of so many is free of what happens now and then: a timer, a new connection, a fuller batch."""

WARM_UPS: Final = 10
FORM: Final = b"Content-Type: application/x-www-form-urlencoded\r\n"
PASSWORD: Final = b"correct+horse+battery+staple"


class Work(msgspec.Struct, frozen=True):
    """What one request cost.

    Attributes:
        calls: Of functions, in Python and in C.
        instructions: Of Python's byte code.
    """

    calls: int
    instructions: int


class Counting:
    """Counts while it is on, in this thread alone: what a hash thread does is not the event loop's."""

    def __init__(self) -> None:
        self.calls = 0
        self.instructions = 0

    def _called(self, _frame: FrameType, event: str, _about: Any) -> None:
        if event in {"call", "c_call"}:
            self.calls += 1

    def _traced(self, frame: FrameType, event: str, _about: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self.instructions += 1
        return self._traced

    @contextlib.contextmanager
    def calls_counted(self) -> Iterator[None]:
        """Count calls in this block and in what the event loop runs meanwhile."""
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)

    @contextlib.contextmanager
    def instructions_counted(self) -> Iterator[None]:
        """Count instructions."""
        before = sys.gettrace()
        sys.settrace(self._traced)
        try:
            yield
        finally:
            sys.settrace(before)


class Recipient(asyncio.Transport):
    """Stands for a client's socket: hears answers."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.answered: asyncio.Future[bytes]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take a whole answer."""
        self.answered.set_result(bytes(data))

    def is_closing(self) -> bool:
        """It never is."""
        return False


class Client:
    """One connection of an API process, without a socket."""

    def __init__(self, server: HttpServer) -> None:
        self._recipient = Recipient()
        self._connection = Connection(server, asyncio.get_running_loop())
        self._connection.connection_made(self._recipient)

    async def ask(self, request: bytes, counted: contextlib.AbstractContextManager[None] | None = None) -> bytes:
        """The answer to *request*, whose work is counted until it is written and told of."""
        self._recipient.answered = asyncio.get_running_loop().create_future()
        with counted or contextlib.nullcontext():
            self._connection.data_received(request)
            return await self._recipient.answered


def a_request(line: str, head: bytes = b"", body: bytes = b"") -> bytes:
    """One request as a browser's library would write it."""
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return f"{line} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a-client/1.0\r\nAccept: */*\r\n".encode() + (
        head + length + b"\r\n" + body
    )


def json_of(answer: bytes) -> dict[str, str]:
    """What the body of *answer* says."""
    found: dict[str, str] = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])
    return found


async def _requests(client: Client) -> Mapping[str, tuple[Callable[[], bytes], bytes]]:
    """What is asked, made anew each time, and how a right answer begins."""
    registration = msgspec.json.encode({"username": "ada", "password": PASSWORD.decode().replace("+", " ")})
    login = a_request("POST /login", FORM, b"username=ada&password=" + PASSWORD)
    await client.ask(a_request("POST /register", b"Content-Type: application/json\r\n", registration))
    tokens = json_of(await client.ask(login))
    profile = a_request("GET /me", b"Authorization: Bearer " + tokens["access_token"].encode() + b"\r\n")
    opened = [json_of(await client.ask(login))["refresh_token"] for _ in range(2 * (WARM_UPS + REPETITIONS))]

    def refresh() -> bytes:
        return a_request("POST /refresh", FORM, b"refresh_token=" + opened.pop().encode())

    return {
        "login": (lambda: login, b"HTTP/1.1 200"),
        "login of nobody": (
            lambda: a_request("POST /login", FORM, b"username=nobody&password=" + PASSWORD),
            b"HTTP/1.1 404",
        ),
        "me": (lambda: profile, b"HTTP/1.1 200"),
        "refresh": (refresh, b"HTTP/1.1 200"),
        "campaign": (lambda: a_request(f"GET /campaigns/{CODE}"), b"HTTP/1.1 200"),
    }


async def _measure(client: Client) -> dict[str, Work]:
    found = {}
    for name, (make, expected) in (await _requests(client)).items():
        calls: list[int] = []
        instructions: list[int] = []
        for number in range(2 * (WARM_UPS + REPETITIONS)):
            counting, request = Counting(), make()
            is_about_calls = number % 2 == 0
            counted = counting.calls_counted() if is_about_calls else counting.instructions_counted()
            answer = await client.ask(request, counted)
            assert answer.startswith(expected), answer[:80]
            if number >= 2 * WARM_UPS:
                (calls if is_about_calls else instructions).append(
                    counting.calls if is_about_calls else counting.instructions
                )
        found[name] = Work(min(calls), min(instructions))
    return found


def work_per_request(dsn: str, folder: Path) -> dict[str, Work]:
    """Count on an API process that is made in this one.

    Args:
        dsn: A migrated database.
        folder: For keys and the log.
    """
    keys = folder / "keys.json"
    create_key_file(keys)
    settings = build_settings(
        {
            "TIDEGATE_PRIMARY_DSN": dsn,
            "TIDEGATE_SIGNING_KEYS_FILE": str(keys),
            "TIDEGATE_REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "TIDEGATE_HASH_THREADS": "1",
        }
    )

    async def measure(log: JsonLog) -> dict[str, Work]:
        outside = await asyncpg.connect(dsn)
        await make_campaign(outside)
        await outside.close()
        shared = SharedMemory(profile_stamps=make_stamp_memory(), existence=None)
        async with open_application(settings, log, shared, asyncio.Event()) as application:
            server = HttpServer(
                application=application, request_deadline_s=15, receive_deadline_s=10, keep_alive_s=75, is_uniform=False
            )
            return await _measure(Client(server))

    with (folder / "api.log").open("ab") as file:
        log = JsonLog(file.fileno())
        found = uvloop.run(measure(log))
        log.flush()
    return found


def recorded() -> dict[str, dict[str, Work]]:
    """What was counted when it was last written down, by minor version of Python."""
    return msgspec.json.decode(RECORDED.read_bytes(), type=dict[str, dict[str, Work]])


def this_python() -> str:
    """The minor version that runs."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> None:
    """Count and write down."""
    with tempfile.TemporaryDirectory() as folder, own_server() as postgres:
        found = work_per_request(postgres.dsn(make_migrated_database(postgres)), Path(folder))
    known = recorded() if RECORDED.exists() else {}
    known[this_python()] = found
    RECORDED.write_bytes(msgspec.json.format(msgspec.json.encode(known)) + b"\n")


if __name__ == "__main__":
    main()
