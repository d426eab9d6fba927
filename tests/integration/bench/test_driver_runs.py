"""The driver as a process, against a server that answers each request after a moment."""

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
from bench.driver import Drained, Event, Measured, Measuring, Orders

REPOSITORY = Path(__file__).parents[3]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]) -> None:
    """Serve one connection until it ends."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            asked.append(await reader.readexactly(length))
            await asyncio.sleep(0.002)
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        writer.close()


async def drive(orders: Orders) -> tuple[list[Event], int, list[bytes]]:
    """What the driver told, how it ended, and what the server was asked."""
    asked: list[bytes] = []
    server = await asyncio.start_server(lambda reader, writer: answer(reader, writer, asked), orders.host, 0)
    orders = msgspec.structs.replace(orders, port=server.sockets[0].getsockname()[1])
    driver = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.driver", cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    async with asyncio.timeout(30):
        told, _ = await driver.communicate(msgspec.json.encode(orders))
    server.close()
    assert driver.returncode is not None
    return [msgspec.json.decode(line, type=Event) for line in told.splitlines()], driver.returncode, asked


def test_the_driver_warms_up_measures_and_drains():
    orders = Orders(
        host="127.0.0.1",
        port=0,
        connections=8,
        username_prefix="bench-",
        users=20,
        password="p",
        seconds=0.3,
        warm_up_s=0.0,
    )
    told, code, asked = asyncio.run(drive(orders))
    assert code == 0
    first, measured, last = told
    assert isinstance(first, Measuring)
    assert isinstance(last, Drained)
    assert isinstance(measured, Measured)
    assert set(measured.by_status) == {"200"}
    assert 0 < measured.by_status["200"] <= len(asked) - 8  # each of the eight was answered once before
    assert measured.latency_ms["p50"] >= 2
    assert {body.partition(b"&")[0] for body in asked} == {f"username=bench-{n}".encode() for n in range(20)}
