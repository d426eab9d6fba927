"""Cleaning up goes on for as long as a batch is full."""

from asyncio import run

import pytest

from tests.unit.usecases.world import World
from tidegate.usecases.clean_up_sessions import CleanUpSessions


class CountedRemoval:
    """Implements `ports.sessions.SessionRemoval`: always finds *found*."""

    def __init__(self, found: int) -> None:
        self.asked: list[tuple[float, int]] = []
        self._found = found

    async def remove_dead(self, *, dead_for_s: float, at_most: int) -> int:
        self.asked.append((dead_for_s, at_most))
        return self._found


@pytest.mark.parametrize(("found", "is_more"), [(0, False), (9, False), (10, True)])
def test_a_full_batch_says_that_there_may_be_more(found: int, is_more: bool) -> None:
    removal = CountedRemoval(found)
    assert run(CleanUpSessions(sessions=removal, dead_for_s=360.0, at_most=10)()) is is_more
    assert removal.asked == [(360.0, 10)]


def test_live_sessions_stay() -> None:
    world = World()
    world.add_user()
    dead, live = world.logged_in().tokens, world.logged_in().tokens
    run(world.sessions.revoke(world.claims(dead).session_id))
    world.clock.advance(361)
    assert run(CleanUpSessions(sessions=world.sessions, dead_for_s=360.0)()) is False
    assert world.sessions.count == 1
    assert world.is_live(live)
