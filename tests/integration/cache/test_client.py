"""The cache client against a real Valkey that is killed, frozen and brought back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from tests.support.valkeys import frozen, kill, own_valkey, say
from tidegate.cache.address import CacheAddress, read_address
from tidegate.cache.client import CacheClient
from tidegate.cache.connection import CacheAway, CacheRefused
from tidegate.embedded.valkey import EmbeddedValkey

PATIENT_S = 10.0
"""For commands that are to be answered, however busy the machine is."""


@asynccontextmanager
async def opened(
    server: EmbeddedValkey | CacheAddress,
    *,
    timeout_s: float = PATIENT_S,
    on_change: Callable[[bool, str], None] = lambda _is_up, _why: None,
) -> AsyncIterator[CacheClient]:
    address = server if isinstance(server, CacheAddress) else read_address(server.url)
    client = CacheClient(address, timeout_s=timeout_s, on_change=on_change)
    await client.start()
    try:
        yield client
    finally:
        await client.aclose()


def run(test: Coroutine[Any, Any, None]) -> None:
    # The loop that we serve with: its transports and the order of its work are its own.
    uvloop.run(asyncio.wait_for(test, 60))


def test_commands_are_answered(valkey: EmbeddedValkey) -> None:
    async def test() -> None:
        async with opened(valkey) as client:
            client.tell(b"SET", b"a", b"1")
            answers = await asyncio.gather(
                client.ask(b"INCRBY", b"a", 2), client.ask(b"MGET", b"a", b"none"), client.ask(b"GET", b"none")
            )
            assert list(answers) == [3, [b"3", None], None]
            assert client.is_up

    run(test())


def test_a_refusal_ends_nothing(valkey: EmbeddedValkey) -> None:
    async def test() -> None:
        async with opened(valkey) as client:
            client.tell(b"LPUSH", b"list", b"x")
            with pytest.raises(CacheRefused) as refused:
                await client.ask(b"INCR", b"list")
            assert refused.value.code == "WRONGTYPE"
            assert await client.ask(b"PING") == b"PONG"

    run(test())


def test_a_frozen_one_costs_one_wave_its_patience_and_afterwards_nobody_anything() -> None:
    """What would hang every login otherwise."""

    async def test() -> None:
        changes: list[bool] = []
        with own_valkey() as server:
            async with opened(server, timeout_s=0.05, on_change=lambda is_up, _why: changes.append(is_up)) as client:
                await client.until_up()
                with frozen(server):
                    wave = [client.ask(b"PING") for _ in range(100)]
                    assert {type(e) for e in await asyncio.gather(*wave, return_exceptions=True)} == {CacheAway}
                    for _ in range(3):  # also while new connections, which a frozen one accepts, are tried
                        with pytest.raises(CacheAway):
                            client.ask(b"PING")
                        await asyncio.sleep(0.06)
                    assert not client.is_up
                await client.until_up()
                assert await client.ask(b"PING") == b"PONG"
        assert changes[:2] == [True, False]
        assert changes[-1] is True

    run(test())


def test_a_killed_one_is_away_at_once_and_back_when_it_is_back() -> None:
    async def test() -> None:
        with own_valkey() as server:
            lost = asyncio.Event()
            async with opened(server, on_change=lambda is_up, _why: None if is_up else lost.set()) as client:
                await client.ask(b"SET", b"a", b"1")
                kill(server)
                await asyncio.wait_for(lost.wait(), PATIENT_S)
                with pytest.raises(CacheAway):
                    client.ask(b"GET", b"a")
                await asyncio.to_thread(server.start)
                await client.until_up()
                assert await client.ask(b"GET", b"a") is None

    run(test())


def test_one_that_is_not_there_at_the_start_is_found_later() -> None:
    async def test() -> None:
        with own_valkey() as server:
            kill(server)
            async with opened(server) as client:
                assert not client.is_up
                await asyncio.to_thread(server.start)
                await client.until_up()
                assert await client.ask(b"PING") == b"PONG"

    run(test())


def test_an_event_loop_that_stood_still_does_not_blame_the_cache(valkey: EmbeddedValkey) -> None:
    """When it goes on, the command leaves at last, and by the clock its time is over already."""

    async def test() -> None:
        async with opened(valkey, timeout_s=0.5) as client:
            asked = client.ask(b"PING")
            time.sleep(0.6)  # noqa: ASYNC251 - this is the pause
            assert await asked == b"PONG"
            assert client.is_up

    run(test())


def test_a_slow_command_of_many_does_not_make_the_others_late(valkey: EmbeddedValkey) -> None:
    """The patience counts from each command's own start, not from the first ever sent."""

    async def test() -> None:
        async with opened(valkey, timeout_s=0.2) as client:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                assert await client.ask(b"PING") == b"PONG"
                await asyncio.sleep(0.01)
            assert client.is_up

    run(test())


def test_a_password_and_a_database_are_used_and_a_wrong_one_is_told() -> None:
    async def test() -> None:
        with own_valkey() as server:
            socket = read_address(server.url).socket
            say(server, "ACL SETUSER tide on >hunter2 ~* +@all")
            say(server, "CONFIG SET requirepass hunter3")
            async with opened(CacheAddress(socket=socket, username="tide", password="hunter2", database=2)) as client:
                await client.ask(b"SET", b"a", b"1")
                assert "db=2" in str(await client.ask(b"CLIENT", b"INFO"))
            async with opened(CacheAddress(socket=socket, password="hunter3")) as client:
                assert await client.ask(b"GET", b"a") is None
            told: list[tuple[bool, str]] = []
            wrong = CacheAddress(socket=socket, password="hunter4")
            async with opened(wrong, on_change=lambda is_up, why: told.append((is_up, why))) as client:
                assert not client.is_up
            assert told == [(False, "WRONGPASS")]

    run(test())
