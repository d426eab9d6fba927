"""A keeper at work on a real database: a filter that becomes over-full is replaced under the feet of those who register."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.contract.users import new_user
from tests.integration.storage.worlds import opened_pool, until
from tests.unit.existence.worlds import SharedWorld, opened_world, username
from tidegate.existence import blocks
from tidegate.existence.filtered_users import FilteredUsers
from tidegate.existence.keeper import Keeper
from tidegate.existence.memory import CURRENT, NAMES, blocks_of
from tidegate.storage.existence import open_existence_database
from tidegate.storage.user_administration import UserAdministration
from tidegate.storage.users import PostgresUsers


class KeptWorld:
    """Users behind a filter that is kept."""

    def __init__(self, shared: SharedWorld, users: FilteredUsers, administration: UserAdministration) -> None:
        self.shared = shared
        self.users = users
        self.administration = administration
        self.reported: list[str] = []

    async def decides(self) -> bool:
        return self.shared.existence.decides

    async def register(self, *names: str) -> None:
        for name in names:
            await self.users.add(new_user(username=name))


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[KeptWorld]:
    """One whose filter decides alone."""
    async with opened_pool(dsn, size=4) as pool:
        with opened_world() as shared:
            stored = PostgresUsers(pool)
            users = FilteredUsers(stored, nearby=stored, existence=shared.existence)
            world = KeptWorld(shared, users, UserAdministration(pool))
            keeper = Keeper(
                memory=shared.memory,
                open_database=partial(open_existence_database, dsn=dsn, connect_timeout_s=5.0),
                decides_alone=True,
                report=lambda event, _: world.reported.append(event),
            )
            keeping = asyncio.create_task(keeper.run())
            try:
                await until(world.decides)
                yield world
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)


def test_an_over_full_filter_is_replaced_while_people_register_and_nobody_is_denied(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_GROWTH_NAMES_MIN", 100)
    names = [f"user-{number}" for number in range(400)]

    async def story() -> None:
        async with opened(database) as world:
            first = world.shared.memory.words[CURRENT]
            await asyncio.gather(*(world.register(*names[start::4]) for start in range(4)), _look(world))
            await until(lambda: _is_replaced(world, first))
            await until(world.decides)
            current = world.shared.memory.words[CURRENT]
            assert blocks_of(current) > blocks_of(first)
            assert not world.shared.memory.is_wanting()
            assert world.shared.memory.words[NAMES] == pytest.approx(len(names), rel=0.05)
            assert all(world.shared.existence.might_contain(username(name)) for name in names)
            assert world.shared.existence.lacks(username("nobody"))

    async def _look(world: KeptWorld) -> None:
        """Whoever is in the database is found, whichever filter is asked at the moment."""
        added = 0
        while added < len(names):
            known = [name for name in names if await world.users.find(username(name)) is not None]
            assert len(known) >= added
            added = len(known)

    asyncio.run(story())


async def _is_replaced(world: KeptWorld, first: int) -> bool:
    return world.shared.memory.words[CURRENT] != first and not world.shared.memory.is_wanting()


def test_whoever_is_deleted_is_looked_up_until_the_next_filter_which_lacks_them(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits are never taken out: they may be another's."""
    monkeypatch.setattr(blocks, "_GROWTH_NAMES_MIN", 100)

    async def story() -> None:
        async with opened(database) as world:
            first = world.shared.memory.words[CURRENT]
            await world.register("ada", "bob")
            ada = await world.users.find(username("ada"))
            assert ada is not None
            assert await world.administration.delete(ada.user_id)
            assert await world.users.find(username("ada")) is None
            assert world.shared.existence.might_contain(username("ada"))
            await world.register(*(f"user-{number}" for number in range(200)))
            await until(lambda: _is_replaced(world, first))
            assert not world.shared.existence.might_contain(username("ada"))
            assert world.shared.existence.might_contain(username("bob"))
            await world.register("ada")
            assert await world.users.find(username("ada")) is not None

    asyncio.run(story())
