"""The counters in Valkey keep the contract, and do not stay there for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.contract.counters import ADA, SharedCountersContract
from tests.support.valkeys import flush, frozen, say
from tidegate.cache.address import read_address
from tidegate.cache.client import CacheClient
from tidegate.cache.counters import ValkeyCounters
from tidegate.embedded.valkey import EmbeddedValkey
from tidegate.ports.throttling import Increment


class ValkeyWorld:
    """Two connections to one Valkey."""

    def __init__(self, server: EmbeddedValkey, first: CacheClient, second: CacheClient) -> None:
        self.counters, self.others = ValkeyCounters(first), ValkeyCounters(second)
        self.server = server
        self.frozen = frozen(server)
        self.is_frozen = False

    async def empty(self) -> None:
        flush(self.server)

    async def freeze(self) -> None:
        self.is_frozen = True
        self.frozen.__enter__()

    def thaw(self) -> None:
        if self.is_frozen:
            self.frozen.__exit__(None, None, None)


@asynccontextmanager
async def opened(server: EmbeddedValkey, *, timeout_s: float) -> AsyncIterator[CacheClient]:
    client = CacheClient(read_address(server.url), timeout_s=timeout_s)
    await client.start()
    try:
        yield client
    finally:
        await client.aclose()


class TestValkeyCounters(SharedCountersContract):
    @pytest.fixture(autouse=True)
    def _use(self, valkey: EmbeddedValkey) -> None:
        self.server = valkey

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ValkeyWorld]:
        async with opened(self.server, timeout_s=1.0) as first, opened(self.server, timeout_s=1.0) as second:
            world = ValkeyWorld(self.server, first, second)
            try:
                yield world
            finally:
                world.thaw()


def test_a_bucket_is_forgotten_after_its_time(valkey: EmbeddedValkey) -> None:
    """Else every address that ever failed would stay for ever."""

    async def test() -> None:
        async with opened(valkey, timeout_s=10.0) as client:
            await ValkeyCounters(client).add([Increment(ADA, 1, 60)])

    asyncio.run(test())
    assert say(valkey, "DBSIZE") == b":1\r\n"
    assert say(valkey, "TTL tg1:n:user:ada:7") in (b":60\r\n", b":59\r\n", b":58\r\n")
