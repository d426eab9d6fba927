"""The worker's rounds: what a failure changes, that no circle holds up another, and when they stop."""

import asyncio
from collections.abc import Sequence

from tidegate.domain.errors import DatabaseUnavailable
from tidegate.worker.loop import Rounds, WorkerLoop


class HandMonotonic:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Work:
    """Raises or returns what it is told to, in turn, then stops its loop."""

    def __init__(self, *outcomes: bool | Exception) -> None:
        self.outcomes = list(outcomes)
        self.rounds = 0
        self.loop: WorkerLoop | None = None

    async def __call__(self) -> bool:
        await asyncio.sleep(0)
        self.rounds += 1
        outcome = self.outcomes.pop(0)
        if not self.outcomes and self.loop is not None:
            self.loop.stop()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def run(works: Sequence[Work], *, rest_s: float = 0) -> list[Exception]:
    failures: list[Exception] = []
    loop = WorkerLoop([Rounds(work=work, rest_s=rest_s) for work in works], on_failure=failures.append, draw=lambda: 0.0)
    works[0].loop = loop

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await loop.run()

    asyncio.run(bounded())
    return failures


def test_rounds_follow_each_other_while_there_is_more() -> None:
    work = Work(True, True, True)
    assert run([work], rest_s=3_600) == []
    assert work.rounds == 3


def test_a_failed_round_is_told_and_tried_again() -> None:
    away, bug = DatabaseUnavailable(), KeyError("x")
    work = Work(away, bug, True)
    assert run([work]) == [away, bug]
    assert work.rounds == 3


def test_a_circle_that_stands_holds_up_no_other() -> None:
    class Standing(Work):
        async def __call__(self) -> bool:
            self.rounds += 1
            while self.outcomes:
                await asyncio.sleep(0)
                if not works[0].outcomes:
                    self.outcomes.clear()
            return False

    works = [Work(True, True, True), Standing(True)]
    run(works)
    assert [work.rounds for work in works] == [3, 1]


def test_a_stop_does_not_wait_for_the_pause() -> None:
    work = Work(False)
    assert run([work], rest_s=3_600) == []


def test_what_is_late_is_told_and_what_rests_is_not_late() -> None:
    clock = HandMonotonic()

    async def tell() -> None:
        work = Work(False, False)
        loop = WorkerLoop([Rounds(work=work, rest_s=10)], on_failure=lambda _: None, monotonic=clock)
        running = asyncio.create_task(loop.run())
        for _ in range(10):
            await asyncio.sleep(0)
        clock.now = 9
        assert loop.overdue_s == 0
        clock.now = 13
        assert loop.overdue_s == 3
        loop.stop()
        await running

    asyncio.run(tell())


def test_a_bell_ends_the_rest_and_one_that_rang_during_a_round_lets_another_follow() -> None:
    bell = asyncio.Event()

    class Rung(Work):
        async def __call__(self) -> bool:
            if len(self.outcomes) == 3:
                bell.set()  # somebody rings while this round, which may have looked before, is under way
            elif len(self.outcomes) == 2:
                asyncio.get_running_loop().call_later(0.01, bell.set)
            return await super().__call__()

    work = Rung(False, False, False)
    loop = WorkerLoop([Rounds(work=work, rest_s=3_600, bell=bell)], on_failure=lambda _: None)
    work.loop = loop

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await loop.run()

    asyncio.run(bounded())
    assert work.rounds == 3


def test_a_bell_that_rang_once_is_heard_once() -> None:
    bell = asyncio.Event()
    work = Work(*[False] * 9)

    async def story() -> None:
        loop = WorkerLoop([Rounds(work=work, rest_s=3_600, bell=bell)], on_failure=lambda _: None)
        running = asyncio.create_task(loop.run())
        for rounds in (1, 2, 3):
            for _ in range(50):
                await asyncio.sleep(0)
            assert work.rounds == rounds
            bell.set()
        loop.stop()
        await running

    asyncio.run(story())
