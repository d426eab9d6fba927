"""PostgreSQL keeps the contracts of the storage."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

import pytest

from tests.contract.idempotency import IdempotencyContract
from tests.contract.revocations import RevocationsContract
from tests.contract.sessions import OpeningContract, RotationContract, SessionLifeContract
from tests.contract.users import ProfilesContract, UserStoreContract
from tests.integration.storage.worlds import (
    ACCESS_TOKEN_TTL_S_MAX,
    PostgresWorld,
    bystander,
    opened_pool,
    opened_world,
)
from tidegate.feed.knowledge import Knowledge
from tidegate.storage.revocations import RevocationFeed
from tidegate.storage.users import PostgresUsers


class _OnADatabase:
    dsn: str

    @pytest.fixture(autouse=True)
    def _database(self, database: str) -> None:
        self.dsn = database


class TestPostgresUsers(_OnADatabase, UserStoreContract, ProfilesContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[PostgresUsers]:
        async with opened_pool(self.dsn) as pool:
            yield PostgresUsers(pool)


class TestPostgresSessions(_OnADatabase, OpeningContract, RotationContract, SessionLifeContract):
    def opened(self) -> AbstractAsyncContextManager[PostgresWorld]:
        return opened_world(self.dsn)


class TestPostgresIdempotencyKeys(_OnADatabase, IdempotencyContract):
    def opened(self) -> AbstractAsyncContextManager[PostgresWorld]:
        return opened_world(self.dsn)


class _NeverAsked:
    """The feed alone must know: it is trusted for longer than the test takes."""

    async def is_live(self, session_id: UUID) -> bool:
        raise AssertionError


class FollowedWorld(PostgresWorld):
    """With a feed that another process might have."""

    revocations: Knowledge


class TestRevocationFeed(_OnADatabase, RevocationsContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FollowedWorld]:
        async with opened_pool(self.dsn) as pool, bystander(self.dsn) as outside:
            world = FollowedWorld(pool, outside)
            world.revocations = Knowledge(
                primary=_NeverAsked(), access_token_ttl_s_max=ACCESS_TOKEN_TTL_S_MAX, trusted_s=600.0
            )
            feed = RevocationFeed(dsn=self.dsn, hears=world.revocations)
            await feed.start()
            await world.revocations.until_proven()
            try:
                yield world
            finally:
                await feed.aclose()
