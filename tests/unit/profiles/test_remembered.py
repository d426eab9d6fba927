"""A remembered profile is told again only while nobody can have changed it."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from tests.contract.users import new_user
from tests.fakes.profiles import CutOffError, Source
from tidegate.domain.users import ProfileChange
from tidegate.profiles.remembered import REMEMBERED_S_MAX, RememberedProfiles
from tidegate.profiles.stamps import Stamps, make_stamp_memory

REMEMBERED_MAX = 3


class World:
    """One node: two processes that share stamps and a database."""

    def __init__(self, descriptor: int) -> None:
        self.source = Source()
        self.now = 1000.0
        self.is_fed = True
        self.stamps = [Stamps(descriptor), Stamps(descriptor)]
        self.here, self.there = (
            RememberedProfiles(
                self.source,
                stamps=stamps,
                is_fed=lambda: self.is_fed,
                monotonic=lambda: self.now,
                remembered_max=REMEMBERED_MAX,
            )
            for stamps in self.stamps
        )

    async def bob(self) -> UUID:
        bob = replace(new_user(username=f"bob-{uuid4()}"), full_name="Bob")
        await self.source.users.add(bob)
        return bob.user_id


@pytest.fixture
def world() -> Iterator[World]:
    descriptor = make_stamp_memory()
    made = World(descriptor)
    os.close(descriptor)
    yield made
    for stamps in made.stamps:
        stamps.close()


async def name_of(profiles: RememberedProfiles, user_id: UUID) -> str | None:
    profile = await profiles.profile(user_id)
    assert profile is not None
    return profile.full_name


ROBERT = ProfileChange(full_name="Robert")


def test_what_was_read_is_told_again_without_asking(world: World) -> None:
    async def story() -> None:
        bob = await world.bob()
        assert [await name_of(world.here, bob) for _ in range(3)] == ["Bob"] * 3
        assert world.source.asked == 1

    asyncio.run(story())


def test_nobody_is_not_remembered(world: World) -> None:
    """Who registers in this moment is somebody in the next."""

    async def story() -> None:
        nobody = uuid4()
        assert await world.here.profile(nobody) is None
        assert await world.here.profile(nobody) is None
        assert world.source.asked == 2

    asyncio.run(story())


def test_a_change_shows_at_once_in_every_process(world: World) -> None:
    async def story() -> None:
        bob = await world.bob()
        assert await name_of(world.here, bob) == await name_of(world.there, bob) == "Bob"
        await world.there.change_profile(bob, ROBERT)
        assert await name_of(world.here, bob) == await name_of(world.there, bob) == "Robert"

    asyncio.run(story())


def test_a_change_that_failed_behind_its_commit_shows_too(world: World) -> None:
    async def story() -> None:
        bob = await world.bob()
        await name_of(world.here, bob)
        world.source.is_cut_off = True
        with pytest.raises(CutOffError):
            await world.there.change_profile(bob, ROBERT)
        assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


def test_what_was_read_before_a_change_and_told_after_it_is_not_remembered(world: World) -> None:
    """The reader's statement was answered before the change, but its answer came after it."""

    async def story() -> None:
        bob = await world.bob()
        world.source.held_back = asyncio.Event()
        reading = asyncio.create_task(name_of(world.here, bob))
        await asyncio.sleep(0)
        await world.there.change_profile(bob, ROBERT)
        world.source.held_back.set()
        assert await reading == "Bob"
        assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


def test_what_another_node_changed_shows_once_it_is_heard_of(world: World) -> None:
    async def story() -> None:
        bob = await world.bob()
        await name_of(world.here, bob)
        await world.source.users.change_profile(bob, ROBERT)
        assert await name_of(world.here, bob) == "Bob"
        world.here.heard(bob)
        assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


def test_while_nothing_is_heard_everything_is_asked_for(world: World) -> None:
    async def story() -> None:
        bob = await world.bob()
        await name_of(world.here, bob)
        world.is_fed = False
        await world.source.users.change_profile(bob, ROBERT)
        assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


def test_what_was_remembered_before_an_interruption_is_forgotten(world: World) -> None:
    async def story() -> None:
        bob = await world.bob()
        await name_of(world.here, bob)
        await world.source.users.change_profile(bob, ROBERT)
        world.here.interrupted()
        assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


def test_what_was_asked_before_an_interruption_is_not_remembered_after_it(world: World) -> None:
    async def story() -> None:
        bob = await world.bob()
        world.source.held_back = asyncio.Event()
        reading = asyncio.create_task(name_of(world.here, bob))
        await asyncio.sleep(0)
        await world.source.users.change_profile(bob, ROBERT)
        world.here.interrupted()
        world.source.held_back.set()
        await reading
        assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


def test_what_nobody_tells_of_shows_after_some_seconds(world: World) -> None:
    async def story() -> None:
        bob = await world.bob()
        await name_of(world.here, bob)
        await world.source.users.change_profile(bob, ROBERT)
        world.now += REMEMBERED_S_MAX
        assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


def test_only_the_latest_used_are_remembered(world: World) -> None:
    async def story() -> None:
        first, *others = [await world.bob() for _ in range(REMEMBERED_MAX + 1)]
        for user_id in (first, *others[:-1], first, others[-1]):
            await name_of(world.here, user_id)
        assert world.source.asked == REMEMBERED_MAX + 1
        await name_of(world.here, first)
        assert world.source.asked == REMEMBERED_MAX + 1
        await name_of(world.here, others[0])
        assert world.source.asked == REMEMBERED_MAX + 2

    asyncio.run(story())


def test_what_was_forgotten_here_is_read_anew_in_every_process(world: World) -> None:
    """Coupons are changed by others than `change_profile`."""

    async def story() -> None:
        bob = await world.bob()
        for process in (world.here, world.there):
            await process.profile(bob)
        await world.here.forget(bob)
        for process in (world.here, world.there):
            await process.profile(bob)
        assert world.source.asked == 4

    asyncio.run(story())
