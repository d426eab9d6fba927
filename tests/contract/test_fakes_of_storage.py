"""The fakes of the storage keep its contracts, so a test that uses them learns the truth."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from tests.contract.coupons import RESERVATION_S, CouponsContract
from tests.contract.idempotency import IdempotencyContract
from tests.contract.jobs import LoginPut
from tests.contract.revocations import RevocationsContract
from tests.contract.sessions import LIFETIMES, OpeningContract, RotationContract, SessionLifeContract
from tests.contract.users import ProfilesContract, UserStoreContract
from tests.fakes.coupons import InMemoryCoupons
from tests.fakes.revocations import InMemoryRevocations
from tests.fakes.sessions import InMemorySessions
from tests.fakes.users import InMemoryUsers


class FakeWorld:
    """Everything in memory."""

    def __init__(self) -> None:
        self.users = InMemoryUsers()
        self.sessions = InMemorySessions(self.users, lifetimes=LIFETIMES)
        self.revocations = InMemoryRevocations(self.sessions)
        self.keys = self.users.keys

    async def jobs(self) -> list[LoginPut]:
        return self.sessions.jobs

    async def let_pass(self, seconds: float) -> None:
        self.sessions.clock.advance(seconds)

    async def disable(self, user_id: UUID) -> None:
        await self.sessions.disable(user_id)

    async def delete(self, user_id: UUID) -> None:
        await self.sessions.delete(user_id)

    async def count(self) -> int:
        return self.sessions.count

    async def let_keys_age(self, seconds: float) -> None:
        self.keys.let_pass(seconds)

    async def count_keys(self) -> int:
        return self.keys.count


class TestInMemoryUsers(UserStoreContract, ProfilesContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[InMemoryUsers]:
        yield InMemoryUsers()


class TestInMemorySessions(OpeningContract, RotationContract, SessionLifeContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeWorld]:
        yield FakeWorld()


class TestInMemoryRevocations(RevocationsContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeWorld]:
        yield FakeWorld()


class TestInMemoryIdempotencyKeys(IdempotencyContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeWorld]:
        yield FakeWorld()


class FakeCouponWorld:
    """Coupons in memory."""

    def __init__(self) -> None:
        self.coupons = InMemoryCoupons(reservation_s=RESERVATION_S)
        self.keys = self.coupons.keys

    async def grant(self, code: str) -> UUID:
        user_id = uuid4()
        self.coupons.grant(user_id, code)
        return user_id

    async def void(self, code: str) -> None:
        self.coupons.void(code)

    async def set_last_day(self, code: str, *, days_ahead: int) -> None:
        self.coupons.set_last_day(code, days_ahead=days_ahead)

    async def let_pass(self, seconds: float) -> None:
        self.coupons.clock.advance(seconds)

    async def told(self) -> list[str]:
        return [str(kind) for kind in self.coupons.told]


class TestInMemoryCoupons(CouponsContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FakeCouponWorld]:
        yield FakeCouponWorld()
