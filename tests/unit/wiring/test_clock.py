"""Of a clock that is wrong the log tells once, the metric tells how far, and a primary that is away changes nothing."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.support.waiting import until_so
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.observability import metrics
from tidegate.observability.log import JsonLog
from tidegate.storage.failures import StatementFailed
from tidegate.storage.pools import PrimaryPool
from tidegate.wiring.clock import open_clock


class Primary:
    """Tells the time as it is told to."""

    def __init__(self, time_s: Callable[[], float]) -> None:
        self.tell = time_s
        self.asked = 0

    async def time_s(self) -> float:
        self.asked += 1
        await asyncio.sleep(0)
        return self.tell()

    async def asked_more(self) -> None:
        before = self.asked
        await until_so(lambda: self.asked > before + 3, "nobody asks for the time")


def right() -> float:
    return time.time()


def an_hour_behind() -> float:
    return time.time() - 3600


def away() -> float:
    raise DatabaseUnavailable(retry_after_s=1)


def broken() -> float:
    raise StatementFailed


def told(folder: Path) -> list[tuple[str, str, str | None]]:
    lines = [json.loads(line) for line in (folder / "log").read_bytes().splitlines()]
    return [(line["level"], line["event"], line.get("error")) for line in lines]


def run(folder: Path, *acts: Callable[[], float]) -> list[tuple[str, str, str | None]]:
    """What the log tells when the primary does each of *acts* in turn."""
    primary = Primary(acts[0])

    async def look(log: JsonLog) -> None:
        async with open_clock(cast("PrimaryPool", primary), log, interval_s=0) as clock:
            for act in acts:
                primary.tell = act
                await primary.asked_more()
                if act is an_hour_behind:
                    assert clock.is_corrected
                    assert abs(clock.now() - an_hour_behind()) < 60
                    assert 3540 < metrics.CLOCK_OFF._value.get() < 3660
        log.flush()

    descriptor = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        asyncio.run(look(JsonLog(descriptor)))
    finally:
        os.close(descriptor)
    return told(folder)


WRONG = ("warning", "this node's clock is 3600.0 s ahead of the primary's: tokens go by the primary's", None)
RIGHT = ("info", "this node's clock agrees with the primary's: tokens go by it again", None)


def test_a_clock_that_agrees_is_not_worth_a_line(tmp_path: Path):
    assert run(tmp_path, right) == []


def test_a_clock_that_is_wrong_is_told_of_once_and_once_when_it_is_right_again(tmp_path: Path):
    assert run(tmp_path, an_hour_behind, right, an_hour_behind) == [WRONG, RIGHT, WRONG]


def test_a_primary_that_is_away_changes_nothing(tmp_path: Path):
    assert run(tmp_path, an_hour_behind, away, an_hour_behind) == [WRONG]


def test_a_bug_is_told_and_does_not_end_the_checks(tmp_path: Path):
    lines = run(tmp_path, right, broken, an_hour_behind)
    assert {line[2] for line in lines[:-1]} == {"StatementFailed"}
    assert lines[-1] == WRONG


def test_nobody_begins_without_having_compared_the_clock(tmp_path: Path):
    with pytest.raises(DatabaseUnavailable):
        run(tmp_path, away)
