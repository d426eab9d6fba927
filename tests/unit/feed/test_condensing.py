"""A worker without a queue keeps the table of changes small, and harms nobody who has one."""

import asyncio

from tidegate.feed.condensing import WAITED_S, Condensing


class Table:
    """Changes that wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ids: list[int] = []
        self.put_in_all = 0
        self.condensed_up_to: list[int | None] = []

    def put(self) -> None:
        self.put_in_all += 1
        self.ids.append(self.put_in_all)

    async def newest(self) -> int | None:
        return max(self.ids, default=None)

    async def condense(self, *, up_to: int | None = None) -> None:
        self.condensed_up_to.append(up_to)
        dropped = [change for change in self.ids if up_to is None or change <= up_to]
        if dropped:
            self.ids = [change for change in self.ids if change not in dropped]
            self.put()


def looked(table: Table, *, looks: int, is_told: bool) -> None:
    async def story() -> None:
        condensing = Condensing(waiting=table, monotonic=lambda: table.now)
        for _ in range(looks):
            table.put()
            await condensing.look()
            if is_told:
                table.ids.clear()
            table.now += 10

    asyncio.run(story())


def test_what_somebody_else_tells_is_let_be() -> None:
    """Each word that something was lost makes every node read from the primary."""
    table = Table()
    looked(table, looks=30, is_told=True)
    assert table.put_in_all == 30


def test_what_nobody_tells_is_condensed_when_it_has_waited_long_and_not_before() -> None:
    table = Table()
    looked(table, looks=int(WAITED_S / 10), is_told=False)
    assert table.condensed_up_to == []
    looked(table, looks=30, is_told=False)
    assert len(table.ids) <= 2 * (1 + WAITED_S / 10)


def test_a_table_that_was_empty_is_looked_at_again() -> None:
    table = Table()
    condensing = Condensing(waiting=table, monotonic=lambda: table.now)
    asyncio.run(condensing.look())
    assert table.condensed_up_to == []
