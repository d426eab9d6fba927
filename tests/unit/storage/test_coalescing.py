"""Callers share a round trip, and nothing else."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tidegate.domain.errors import DatabaseUnavailable
from tidegate.storage.coalescing import Coalescer


class Table:
    """Answers batches when told to; every key's value is the key in capitals, and `nobody` has none."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self.failure: Exception | None = None

    async def find(self, keys: list[str]) -> dict[str, str]:
        self.batches.append(keys)
        await self.open.wait()
        if self.failure:
            raise self.failure
        return {key: key.upper() for key in keys if key != "nobody"}


def coalescer(table: Table, *, keys_max: int = 100, batches_max: int = 1) -> Coalescer[str, str]:
    return Coalescer(table.find, keys_max=keys_max, batches_max=batches_max)


def told(story: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await story

    asyncio.run(bounded())


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_who_comes_while_a_batch_is_under_way_shares_the_next():
    async def story() -> None:
        table = Table()
        find = coalescer(table)
        first = asyncio.create_task(find("a"))
        await turns()
        others = [asyncio.create_task(find(key)) for key in ("b", "c", "nobody", "b")]
        await turns()
        assert table.batches == [["a"]]
        table.open.set()
        assert await first == "A"
        assert [await other for other in others] == ["B", "C", None, "B"]
        assert table.batches == [["a"], ["b", "c", "nobody"]]

    told(story())


def test_who_comes_in_the_same_turn_goes_together_and_nobody_waits_for_a_timer():
    async def story() -> None:
        table = Table()
        table.open.set()
        find = coalescer(table)
        assert list(await asyncio.gather(find("a"), find("b"))) == ["A", "B"]
        assert await find("c") == "C"
        assert table.batches == [["a", "b"], ["c"]]

    told(story())


def test_a_key_that_is_under_way_is_asked_again():
    """The answer under way was formed before this call, and may be older than what the caller knows to be true."""

    async def story() -> None:
        table = Table()
        find = coalescer(table, batches_max=2)
        calls = [asyncio.create_task(find("a"))]
        await turns()
        calls.append(asyncio.create_task(find("a")))
        await turns()
        assert table.batches == [["a"], ["a"]]
        table.open.set()
        assert [await call for call in calls] == ["A", "A"]

    told(story())


def test_batches_and_keys_are_bounded():
    async def story() -> None:
        table = Table()
        find = coalescer(table, keys_max=2, batches_max=2)
        calls = [asyncio.create_task(find(key)) for key in "abcdefg"]
        await turns()
        assert table.batches == [["a", "b"], ["c", "d"]]
        table.open.set()
        assert [await call for call in calls] == list("ABCDEFG")
        assert table.batches[2:] == [["e", "f"], ["g"]]

    told(story())


def test_a_failure_is_everybody_s_in_the_batch_and_nobody_s_after_it():
    async def story() -> None:
        table = Table()
        table.failure = DatabaseUnavailable()
        table.open.set()
        find = coalescer(table)
        for call in [asyncio.create_task(find(key)) for key in "ab"]:
            with pytest.raises(DatabaseUnavailable):
                await call
        table.failure = None
        assert await find("c") == "C"

    told(story())


def test_a_caller_who_goes_away_takes_nothing_from_the_others():
    async def story() -> None:
        table = Table()
        find = coalescer(table)
        gone, same, other = (asyncio.create_task(find(key)) for key in ("a", "a", "b"))
        await turns()
        gone.cancel()
        await turns()
        table.open.set()
        assert (await same, await other) == ("A", "B")
        with pytest.raises(asyncio.CancelledError):
            await gone

    told(story())


def test_a_batch_whose_callers_all_went_away_fails_silently():
    async def story() -> None:
        table = Table()
        table.failure = DatabaseUnavailable()
        find = coalescer(table)
        gone = asyncio.create_task(find("a"))
        await turns()
        gone.cancel()
        await turns()
        table.open.set()
        await turns()
        table.failure = None
        assert await find("b") == "B"

    told(story())
