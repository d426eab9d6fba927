"""Profiles in a real Valkey: told again only while nobody can have changed them, and never in the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from tests.contract.users import new_user
from tests.fakes.profiles import CutOffError, Source
from tests.support.valkeys import flush, frozen, kill, own_valkey, say
from tidegate.cache.address import read_address
from tidegate.cache.client import CacheClient
from tidegate.cache.profiles import SHARED_S_MAX, SharedProfiles
from tidegate.domain.coupons import Coupon, CouponState
from tidegate.domain.users import ProfileChange
from tidegate.embedded.valkey import EmbeddedValkey

COUPON = Coupon(
    code="0123456789ABCDEFG",
    campaign="spring",
    discount=Decimal("12.50"),
    expiration_date=date(2026, 12, 31),
    state=CouponState.VALID,
)
ROBERT = ProfileChange(full_name="Robert", birth_date=date(2000, 2, 29))


class World:
    """Two nodes on one database and one Valkey."""

    def __init__(self, server: EmbeddedValkey, clients: list[CacheClient]) -> None:
        self.server = server
        self.source = Source()
        self.is_fed = True
        self.here, self.there = (
            SharedProfiles(self.source, cache=client, is_fed=lambda: self.is_fed) for client in clients
        )

    async def bob(self) -> UUID:
        bob = replace(new_user(username=f"bob-{uuid4()}"), full_name="Bob")
        await self.source.users.add(bob)
        return bob.user_id


@asynccontextmanager
async def opened(server: EmbeddedValkey, *, timeout_s: float = 10.0) -> AsyncIterator[World]:
    clients = [CacheClient(read_address(server.url), timeout_s=timeout_s) for _ in range(2)]
    for client in clients:
        await client.start()
    try:
        yield World(server, clients)
    finally:
        for client in clients:
            await client.aclose()


async def name_of(profiles: SharedProfiles, user_id: UUID) -> str | None:
    profile = await profiles.profile(user_id)
    assert profile is not None
    return profile.full_name


async def kept(world: World, user_id: UUID) -> None:
    """Let *user_id* be read and kept, and make sure that it is."""
    await world.here.profile(user_id)
    await world.here.profile(user_id)
    assert f"{user_id.hex}}}\r\n" in say(world.server, "KEYS *").decode()


def test_what_one_node_has_read_another_need_not_read(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            await world.source.users.change_profile(bob, ROBERT)
            world.source.users.record_login(bob, datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
            told = [await node.profile(bob) for node in (world.here, world.here, world.there)]
            assert world.source.asked == 1
            assert told == [await world.source.users.profile(bob)] * 3

    asyncio.run(story())


def test_what_two_nodes_read_at_once_is_kept(valkey: EmbeddedValkey) -> None:
    """Both find no stamp, and one of them makes it."""

    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            world.source.held_back = asyncio.Event()
            reading = [asyncio.create_task(name_of(node, bob)) for node in (world.here, world.there)]
            while world.source.asked < 2:
                await world.source.has_read.wait()
                world.source.has_read.clear()
            world.source.held_back.set()
            assert await asyncio.gather(*reading) == ["Bob", "Bob"]
            assert await name_of(world.here, bob) == "Bob"
            assert world.source.asked == 2

    asyncio.run(story())


def test_nobody_is_not_kept(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with opened(valkey) as world:
            nobody = uuid4()
            assert [await world.here.profile(nobody) for _ in range(2)] == [None, None]
            assert world.source.asked == 2

    asyncio.run(story())


def test_a_change_shows_at_once_on_every_node(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            await kept(world, bob)
            await world.there.change_profile(bob, ROBERT)
            assert await name_of(world.here, bob) == await name_of(world.there, bob) == "Robert"

    asyncio.run(story())


def test_a_change_that_failed_behind_its_commit_shows_too(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            await kept(world, bob)
            world.source.is_cut_off = True
            with pytest.raises(CutOffError):
                await world.there.change_profile(bob, ROBERT)
            assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


@pytest.mark.parametrize("is_emptied", [False, True], ids=["kept", "emptied"])
@pytest.mark.parametrize("was_known", [False, True], ids=["unknown", "known"])
def test_what_was_read_before_a_change_is_not_told_after_it(
    valkey: EmbeddedValkey, was_known: bool, is_emptied: bool
) -> None:
    """The reader keeps what it read after the writer was done, and meanwhile Valkey may even have been emptied."""

    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            if was_known:
                await world.here.change_profile(bob, ProfileChange())
            world.source.held_back = asyncio.Event()
            reading = asyncio.create_task(name_of(world.here, bob))
            await world.source.has_read.wait()
            if is_emptied:
                flush(valkey)
            await world.there.change_profile(bob, ROBERT)
            world.source.held_back.set()
            assert await reading == "Bob"
            assert await name_of(world.here, bob) == await name_of(world.there, bob) == "Robert"

    asyncio.run(story())


def test_a_change_by_a_node_without_valkey_shows_once_it_is_heard_of(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            await kept(world, bob)
            await world.source.users.change_profile(bob, ROBERT)
            assert await name_of(world.there, bob) == "Bob"
            world.there.heard(bob)
            assert await name_of(world.there, bob) == "Robert"

    asyncio.run(story())


def test_a_node_that_hears_of_nothing_leaves_valkey_alone(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            await kept(world, bob)
            await world.source.users.change_profile(bob, ROBERT)
            world.is_fed = False
            assert await name_of(world.here, bob) == "Robert"

    asyncio.run(story())


def test_nothing_is_kept_for_longer_than_it_may_be_late(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            await kept(world, bob)
            left_ms = int(say(valkey, f"PTTL tidegate:profile2:{{{bob.hex}}}").removeprefix(b":"))
            assert 0 < left_ms <= SHARED_S_MAX * 1000

    asyncio.run(story())


def test_what_cannot_be_read_is_read_from_the_database(valkey: EmbeddedValkey) -> None:
    """Another release has kept it, or somebody else."""

    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            await kept(world, bob)
            say(valkey, f"APPEND tidegate:profile2:{{{bob.hex}}} x")
            assert await name_of(world.here, bob) == "Bob"
            assert world.source.asked == 2

    asyncio.run(story())


def test_coupons_are_told_as_they_were_read_and_no_more_once_they_are_forgotten(valkey: EmbeddedValkey) -> None:
    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            world.source.users.show_coupons(bob, COUPON, replace(COUPON, expiration_date=None))
            told = [await node.profile(bob) for node in (world.here, world.here, world.there)]
            assert [profile.coupons for profile in told if profile] == [(COUPON, replace(COUPON, expiration_date=None))] * 3
            assert world.source.asked == 1
            world.source.users.show_coupons(bob, replace(COUPON, state=CouponState.REDEEMED))
            await world.there.forget(bob)
            for node in (world.here, world.there):
                profile = await node.profile(bob)
                assert profile is not None
                assert [coupon.state for coupon in profile.coupons] == [CouponState.REDEEMED]

    asyncio.run(story())


def test_releases_keep_profiles_apart_and_outdate_each_other_s(valkey: EmbeddedValkey) -> None:
    """One that knew no coupons would show none where there are some, and kept profiles without them."""

    async def story() -> None:
        async with opened(valkey) as world:
            bob = await world.bob()
            world.source.users.show_coupons(bob, COUPON)
            await kept(world, bob)
            older_key, stamp_key = (f"tidegate:profile:{{{bob.hex}}}{end}" for end in ("", ":stamp"))
            assert say(valkey, f"EXISTS {older_key}") == b":0\r\n"
            say(valkey, f"COPY tidegate:profile2:{{{bob.hex}}} {older_key}")  # as if it had been kept so
            say(valkey, f"DEL tidegate:profile2:{{{bob.hex}}}")
            profile = await world.there.profile(bob)
            assert profile is not None
            assert (profile.coupons, world.source.asked) == ((COUPON,), 2)
            say(valkey, f"SET {stamp_key} another-stamp-of")  # what an older release does at a change
            await world.there.profile(bob)
            assert world.source.asked == 3

    asyncio.run(story())


def test_without_valkey_the_database_is_asked() -> None:
    async def story() -> None:
        with own_valkey() as server:
            async with opened(server, timeout_s=0.2) as world:
                bob = await world.bob()
                await kept(world, bob)
                with frozen(server):
                    await world.source.users.change_profile(bob, ROBERT)
                    assert await name_of(world.here, bob) == "Robert"
                    await world.there.change_profile(bob, ProfileChange(full_name="Rob"))
                    world.there.heard(bob)
                kill(server)
                assert await name_of(world.here, bob) == await name_of(world.there, bob) == "Rob"

    asyncio.run(story())
