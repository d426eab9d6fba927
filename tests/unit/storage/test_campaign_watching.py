"""What is watched is counted once, though numbers become visible out of order and rows go."""

from tidegate.storage.campaign_watching import Tally


class Rows:
    """A table of numbers, asked as the statement asks it."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.read = 0

    def look(self, tally: Tally, now_s: float) -> int:
        tally.begin(now_s)
        beyond = [number for number in self.numbers if number > tally.beyond]
        self.read += len(beyond)
        settled = sum(number <= tally.settles for number in beyond)
        return tally.total(now_s, found=len(beyond), settled=settled, last=max(beyond, default=None))


def test_each_look_counts_everybody_and_reads_only_who_came_of_late() -> None:
    rows, tally = Rows(), Tally()
    for second in range(50):
        rows.numbers |= set(range(second * 100 + 1, second * 100 + 101))
        rows.read = 0
        assert rows.look(tally, 100.0 + second) == len(rows.numbers)
    assert rows.read <= 700


def test_a_number_that_becomes_visible_late_is_counted_when_it_does() -> None:
    rows, tally = Rows(), Tally()
    rows.numbers = {1, 2, 4, 5}
    assert [rows.look(tally, second) for second in (100.0, 101.0, 102.0)] == [4] * 3
    rows.numbers |= {3, 6}
    assert [rows.look(tally, second) for second in (103.0, 104.0, 105.0, 106.0, 120.0)] == [6] * 5


def test_one_that_comes_later_still_is_found_within_a_minute_and_so_is_one_that_went() -> None:
    rows, tally = Rows(), Tally()
    rows.numbers = {1, 2, 4, 5}
    for second in (100.0, 106.0, 107.0):
        rows.look(tally, second)
    rows.numbers ^= {1, 2, 3}  # two have gone, one has come
    assert rows.look(tally, 110.0) == 4
    assert rows.look(tally, 160.0) == 3
    assert rows.look(tally, 161.0) == 3


def test_a_look_that_was_not_answered_changes_nothing() -> None:
    rows, tally = Rows(), Tally()
    rows.numbers = {1, 2, 3}
    rows.look(tally, 100.0)
    tally.begin(106.0)  # and no answer
    rows.numbers.add(4)
    assert [rows.look(tally, second) for second in (107.0, 108.0, 113.0)] == [4, 4, 4]
