"""What a replica and the primary say becomes one verdict, and nothing is trusted for longer than it was seen."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from tidegate.domain.errors import DatabaseUnavailable
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.replica_pools import ReplicaPool
from tidegate.storage.replica_watch import (
    GOOD_LOOKS_MIN,
    LOOK_INTERVAL_S,
    TRUSTED_S,
    Ailment,
    Positions,
    PrimaryPosition,
    ReplicaState,
    ReplicaWatch,
    ailment_of,
)

STATE = ReplicaState(is_standby=True, is_paused=False, replayed=100, timeline=1, system=7)
PRIMARY = PrimaryPosition(flushed=100, timeline=1, system=7)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"replayed": 99}, None),
        ({"replayed": 101}, Ailment.AHEAD),
        ({"is_standby": False}, Ailment.PROMOTED),
        ({"is_paused": True}, Ailment.PAUSED),
        ({"timeline": None}, Ailment.NOT_FED),
        ({"timeline": 2}, Ailment.OTHER_TIMELINE),
        ({"system": 8}, Ailment.OTHER_SYSTEM),
    ],
)
def test_what_ails_a_replica(changed: Mapping[str, Any], expected: Ailment | None) -> None:
    assert ailment_of(replace(STATE, **changed), PRIMARY, lag_s=0.0, lag_s_max=0.5) is expected


def test_one_that_is_late_by_more_than_may_be() -> None:
    assert ailment_of(STATE, PRIMARY, lag_s=0.5, lag_s_max=0.5) is None
    assert ailment_of(STATE, PRIMARY, lag_s=0.51, lag_s_max=0.5) is Ailment.LATE


class TestPositions:
    def test_who_has_replayed_all_that_is_known_is_not_behind(self) -> None:
        positions = Positions(kept_s=60)
        assert positions.lag_s(0, now=5.0) == 0.0
        positions.note(1.0, 100)
        assert positions.lag_s(100, now=5.0) == 0.0

    def test_who_lacks_something_is_behind_since_the_primary_was_first_seen_to_have_it(self) -> None:
        positions = Positions(kept_s=60)
        for at, position in ((1.0, 100), (2.0, 200), (3.0, 200), (4.0, 300)):
            positions.note(at, position)
        assert positions.lag_s(150, now=5.0) == 3.0
        assert positions.lag_s(200, now=5.0) == 1.0

    def test_the_newest_that_is_old_enough_must_have_been_seen(self) -> None:
        positions = Positions(kept_s=60)
        assert positions.older_than(0.5, now=9.0) == 0
        for at, position in ((1.0, 100), (2.0, 200), (3.0, 300)):
            positions.note(at, position)
        assert positions.older_than(0.5, now=3.4) == 200
        assert positions.older_than(0.5, now=3.5) == 300

    def test_one_older_than_is_kept_stays(self) -> None:
        positions = Positions(kept_s=1.0)
        for at in range(100):
            positions.note(float(at), at)
        assert len(positions._seen) == 2
        assert positions.older_than(1.0, now=99.5) == 98


class World:
    """A watch whose servers say what the test wants."""

    def __init__(self) -> None:
        self.now = 100.0
        self.state: ReplicaState | None = STATE
        self.primary: PrimaryPosition | None = PRIMARY
        self.changes: list[Ailment | None] = []
        self.watch = ReplicaWatch(
            replica=cast("ReplicaPool", self),
            primary=cast("PrimaryPool", self),
            lag_s_max=0.5,
            on_change=self.changes.append,
            monotonic=lambda: self.now,
        )

    async def fetch(self, statement: str, *, seen: int) -> list[dict[str, Any]]:
        if self.state is None:
            raise DatabaseUnavailable(retry_after_s=1.0)
        return [{name: getattr(self.state, name) for name in self.state.__slots__}]

    async def fetchrow(self, statement: str) -> dict[str, Any] | None:
        if self.primary is None:
            raise DatabaseUnavailable(retry_after_s=1.0)
        return {name: getattr(self.primary, name) for name in self.primary.__slots__}

    def is_well(self) -> bool:
        return self.watch.is_well

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += LOOK_INTERVAL_S
            asyncio.run(self.watch.look())


def test_nothing_is_read_before_the_first_look_and_one_is_enough_at_the_start() -> None:
    world = World()
    assert not world.is_well()
    world.look()
    assert world.is_well()
    assert world.changes == [None]


def test_out_at_once_and_back_after_some_good_looks() -> None:
    world = World()
    world.look()
    world.state = None
    world.look()
    assert not world.is_well()
    world.state = STATE
    world.look(GOOD_LOOKS_MIN - 1)
    assert not world.is_well()
    world.look()
    assert world.is_well()
    assert world.changes == [None, Ailment.AWAY, None]


def test_what_was_seen_too_long_ago_is_not_trusted() -> None:
    """This process stood still, or its event loop did: no timer had to run."""
    world = World()
    world.look()
    world.now += TRUSTED_S - 0.001
    assert world.is_well()
    world.now += 0.002
    assert not world.is_well()


def test_without_a_primary_to_compare_with_nothing_is_read() -> None:
    world = World()
    world.look()
    world.primary = None
    world.look()
    assert world.watch.ailment is Ailment.PRIMARY_AWAY


def test_a_replica_that_replays_nothing_becomes_late_as_the_primary_goes_on() -> None:
    world = World()
    world.look()
    world.primary = replace(PRIMARY, flushed=200)
    world.look()
    assert world.is_well(), "it may just be about to"
    world.look(3)
    assert world.watch.ailment is Ailment.LATE
    assert world.watch.lag_bytes == 100
    assert world.watch.must_have_seen == 200


def test_positions_of_another_timeline_are_forgotten() -> None:
    """After a failover the numbers begin anew where the other had not been."""
    world = World()
    world.primary = replace(PRIMARY, flushed=10_000)
    world.look(10)
    assert world.watch.must_have_seen == 10_000
    world.primary = replace(PRIMARY, flushed=10_001, timeline=2)
    world.look()
    assert world.watch.must_have_seen == 0
