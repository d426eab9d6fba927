"""What another node hears through the queue keeps the contract of revocations."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.contract.revocations import RevocationsContract
from tests.integration.feed.worlds import FedWorld, fed, relayed
from tests.support.nats_servers import own_nats
from tidegate.embedded.nats import EmbeddedNats


@pytest.fixture(scope="module")
def queue() -> Iterator[EmbeddedNats]:
    with own_nats() as server:
        yield server


class TestKnowledgeThroughTheQueue(RevocationsContract):
    @pytest.fixture(autouse=True)
    def _servers(self, database: str, queue: EmbeddedNats) -> None:
        self.dsn, self.url = database, queue.url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FedWorld]:
        async with relayed(self.dsn, self.url), fed(self.dsn, self.url, trusted_s=600.0) as world:
            yield world
