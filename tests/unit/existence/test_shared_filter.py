"""A "no" counts only if the filter and the lease stood for as long as the look took."""

import asyncio
from collections.abc import Callable

import pytest

from tests.unit.existence.worlds import SharedWorld, opened_world, username
from tidegate.existence.memory import DECIDES_UNTIL, now_ns

ADA = username("ada")


def meanwhile(monkeypatch: pytest.MonkeyPatch, world: SharedWorld, happens: Callable[[], object]) -> None:
    """Let something happen in another process between our look at the bits and the answer."""
    look = world.memory.holds

    def hold(filter_: int, name: bytes) -> bool:
        held = look(filter_, name)
        happens()
        return held

    monkeypatch.setattr(world.memory, "holds", hold)


def test_a_filter_that_was_replaced_during_the_look_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its region may have been emptied under our eyes."""
    with opened_world() as world:
        asyncio.run(world.load(["ada"]))
        world.decide(alone=True)

        def replaced_before(filter_: int, name: bytes) -> bool:
            asyncio.run(world.load(["ada"]))
            return original(filter_, name)

        original = world.memory.holds
        monkeypatch.setattr(world.memory, "holds", replaced_before)
        assert world.existence.might_contain(ADA)
        assert not world.existence.lacks(ADA)


def test_a_lease_that_lapsed_during_the_look_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened_world() as world:
        asyncio.run(world.load())
        world.decide(alone=True)
        meanwhile(monkeypatch, world, lambda: monkeypatch.setattr("tidegate.existence.shared_filter.now_ns", _at_the_end))
        assert not world.existence.lacks(ADA)


def _at_the_end() -> int:
    return now_ns() + (1 << 61)


def test_a_lease_that_was_lost_and_won_again_during_the_look_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ada came by SQL after the lapse, was scanned into the filter after our look, and then the lease was won again."""
    with opened_world() as world:
        asyncio.run(world.load())
        world.memory.decide_until(now_ns() + 1_000_000_000)

        def lose_and_win() -> None:
            monkeypatch.setattr("tidegate.existence.shared_filter.now_ns", lambda: now_ns() + 2_000_000_000)
            world.decide(alone=True)

        meanwhile(monkeypatch, world, lose_and_win)
        assert not world.existence.lacks(ADA)
        assert world.existence.decides


def test_a_lease_ends_by_itself() -> None:
    """Nobody has to be alive for it."""
    with opened_world() as world:
        asyncio.run(world.load())
        world.memory.decide_until(now_ns() - 1)
        assert world.memory.words[DECIDES_UNTIL]
        assert not world.existence.lacks(ADA)
        assert not world.existence.decides


def test_a_lease_of_the_past_is_none() -> None:
    with opened_world() as world:
        asyncio.run(world.load())
        world.memory.decide_until(-5)
        assert not world.existence.lacks(ADA)
