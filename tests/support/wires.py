"""Clients of a test in one event loop, by the hundred: bytes out, answers in, and connections that end badly."""

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self
from urllib.parse import urlencode

from tests.support.client import FORM, JSON, Reply

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: a close drops what is unsent and sends RST (socket(7))."""

_HEAD_END: Final = b"\r\n\r\n"


def request(
    method: str,
    path: str,
    *,
    token: str | None = None,
    fields: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> bytes:
    """A whole request, with *fields* as a form or *members* as JSON."""
    head = [f"{method} {path} HTTP/1.1", "Host: tidegate"]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    body = b""
    if fields is not None:
        body = urlencode(fields).encode()
        head.append(f"Content-Type: {FORM}")
    elif members is not None:
        body = json.dumps(members).encode()
        head.append(f"Content-Type: {JSON}")
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + _HEAD_END + body


@dataclass
class Wire:
    """One keep-alive connection; it never opens itself anew."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> Reply:
        """Send *request* and return its answer."""
        self.writer.write(request)
        head = (await self.reader.readuntil(_HEAD_END)).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        return Reply(int(head[0].split(" ")[1]), headers, await self.reader.readexactly(int(headers["content-length"])))

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Break off as a machine does that loses power: nothing more is taken, not even what is on its way."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()


class Parting(Enum):
    """At which point of a request its client hangs up."""

    IN_THE_HEAD = auto()
    IN_THE_BODY = auto()
    ONCE_SENT = auto()
    IN_THE_ANSWER = auto()


async def hang_up(port: int, whole: bytes, parting: Parting, chance: random.Random) -> None:
    """Send *whole* as far as *parting* says and end the connection, politely or not, as *chance* decides."""
    wire = await Wire.to(port)
    wire.writer.write(whole[: _sent(whole, parting, chance)])
    if parting is Parting.IN_THE_ANSWER:
        await wire.reader.read(chance.randrange(1, 200))
    elif chance.random() < 0.5:
        await asyncio.sleep(chance.random() * 0.01)  # else the end comes with the bytes, before any is looked at
    if chance.random() < 0.5:
        wire.reset()
    else:
        wire.close()
    with contextlib.suppress(OSError):
        await wire.writer.wait_closed()


def _sent(whole: bytes, parting: Parting, chance: random.Random) -> int:
    head_size = whole.index(_HEAD_END) + len(_HEAD_END)
    if parting is Parting.IN_THE_BODY and head_size < len(whole):
        return chance.randrange(head_size, len(whole))
    if parting in (Parting.IN_THE_HEAD, Parting.IN_THE_BODY):
        return chance.randrange(1, head_size)
    return len(whole)


async def slow_reader(port: int) -> socket.socket:
    """A connection through which little passes that is not read: a few kilobytes wait here, 60 KiB at the server."""
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_304)  # the least that Linux grants (socket(7))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # else the server's kernel reckons with 64 KiB segments
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client
