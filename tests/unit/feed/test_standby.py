"""The second line follows while the first is late, and not longer than that makes sense."""

import asyncio

from tests.fakes.knowledge import HandMonotonic
from tests.support.waiting import until_so
from tidegate.feed.standby import LATE_S, STEADY_S, StandBy


class FakeLine:
    """Counts how often it is started and ended."""

    def __init__(self) -> None:
        self.started = 0
        self.ended = 0

    async def start(self) -> None:
        self.started += 1

    async def aclose(self) -> None:
        self.ended += 1


def test_the_second_line_begins_when_the_first_is_late_and_ends_when_that_has_been_well_for_a_while() -> None:
    async def play() -> None:
        clock, second, age_s = HandMonotonic(), FakeLine(), 0.1
        standby = StandBy(first_age_s=lambda: age_s, second=second, monotonic=clock)
        await standby.look()
        assert second.started == 0
        age_s = LATE_S + 0.01
        await standby.look()
        await standby.look()
        assert (second.started, second.ended) == (1, 0)
        age_s = 0.1
        await standby.look()
        clock.now += STEADY_S - 0.1
        await standby.look()
        age_s = LATE_S + 0.01
        await standby.look()
        age_s = 0.1
        clock.now += STEADY_S - 0.1
        await standby.look()
        assert (second.started, second.ended) == (1, 0)
        clock.now += 0.2
        await standby.look()
        assert (second.started, second.ended) == (1, 1)
        age_s = float("inf")
        await standby.look()
        assert (second.started, second.ended) == (2, 1)

    asyncio.run(play())


def test_the_second_line_ends_with_the_watch() -> None:
    async def play() -> None:
        second = FakeLine()
        watching = asyncio.create_task(StandBy(first_age_s=lambda: float("inf"), second=second).run())
        await until_so(lambda: second.started == 1, "it does not begin")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert second.ended == 1

    asyncio.run(play())
