"""The picture of a cluster fits its terminal, whatever that is like, and is redrawn in its place."""

import io
import os
import re
import shutil

import pytest

from tidegate.cluster.view import Picture, Row, Screen, State, page, size, table, wants_colours

ROWS = [
    Row(name="postgres", state=State.UP, pid=101),
    Row(name="replica-2", state=State.REPLAY_PAUSED, pid=102, lag_bytes=3_400_000),
    Row(name="valkey", state=State.CUT, pid=103, deaths=1),
    Row(name="api-1", state=State.UP, pid=104, requests_per_s=1234.5, logins_per_s=7.25, p99_ms=48.6, waiting=12),
    Row(name="api-2", state=State.DEAD, deaths=3),
]


def test_what_is_known_of_each_part_stands_in_its_row() -> None:
    assert table(ROWS, width=120, is_coloured=False) == [
        "part       state          pid  deaths  req/s  logins/s  p99 ms  waiting     lag",
        "postgres   up             101",
        "replica-2  replay paused  102                                            3.4 MB",
        "valkey     cut            103       1",
        "api-1      up             104           1234       7.2      49       12",
        "api-2      dead                     3",
    ]


@pytest.mark.parametrize("width", range(121))
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    """A line that breaks is two, and the next picture would be drawn one line too low."""
    for line in page(Picture(ROWS, jobs=3), width=width, height=50, is_coloured=False):
        assert len(line) <= width


def test_what_says_the_least_goes_first() -> None:
    assert table(ROWS, width=40, is_coloured=False)[0] == "part       state          req/s     lag"
    assert table(ROWS, width=12, is_coloured=False)[0] == "part"


@pytest.mark.parametrize("height", range(9))
def test_there_are_no_more_lines_than_the_terminal_has(height: int) -> None:
    lines = page(Picture(ROWS), width=80, height=height, is_coloured=False)
    assert len(lines) == min(height, 7)
    if 0 < height < 7:
        assert lines[-1] == "..."


def test_the_last_line_tells_of_all_together() -> None:
    assert page(Picture(ROWS, jobs=3), width=120, height=50, is_coloured=False)[-1].startswith(
        "1234 requests/s, 7.2 logins/s, 3 jobs to do"
    )
    assert "jobs" not in page(Picture(ROWS, jobs=None), width=120, height=50, is_coloured=False)[-1]


def test_colours_change_no_letter() -> None:
    coloured = table(ROWS, width=120, is_coloured=True)
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == table(ROWS, width=120, is_coloured=False)
    assert "\x1b[31mdead\x1b[0m" in coloured[-1]


def test_nobody_is_coloured_who_does_not_want_it() -> None:
    """https://no-color.org"""
    assert wants_colours({"TERM": "xterm"})
    assert not wants_colours({"TERM": "xterm", "NO_COLOR": "1"})
    assert not wants_colours({"TERM": "dumb"})


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (12_345_678, "12 MB"), (5 * 10**12, "5000 GB")],
)
def test_sizes_stay_short(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> "list[tuple[int, int]]":
    """The size of the terminal, to be changed in its place."""
    found = [(80, 24)]
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size(found[0]))
    return found


def drawn(screen: Screen, stream: io.StringIO, rows: list[Row]) -> str:
    stream.seek(0)
    stream.truncate()
    screen.draw(Picture(rows))
    return stream.getvalue()


def test_the_next_picture_is_drawn_over_the_last(terminal: object) -> None:
    stream = io.StringIO()
    screen = Screen(stream, is_coloured=False)
    first = drawn(screen, stream, ROWS)
    assert first.count("\n") == 7
    assert "F" not in re.findall(r"\x1b\[\d+([A-Z])", first), "there was nothing to go back over"
    assert "\x1b[7F" in drawn(screen, stream, ROWS[:2])
    assert "\x1b[4F" in drawn(screen, stream, ROWS)


def test_nothing_is_erased_before_it_is_overwritten(terminal: object) -> None:
    """What is cleared first and written then flickers."""
    stream = io.StringIO()
    screen = Screen(stream, is_coloured=False)
    drawn(screen, stream, ROWS)
    again = drawn(screen, stream, ROWS)
    assert "\x1b[2J" not in again
    assert again.index("\x1b[J") > again.rindex("\n")


def test_what_is_told_stays_above_the_picture(terminal: object) -> None:
    stream = io.StringIO()
    screen = Screen(stream, is_coloured=False)
    drawn(screen, stream, ROWS)
    screen.tell("api-1 died\nand came back")
    text = drawn(screen, stream, ROWS)
    assert text.index("\x1b[7F") < text.index("api-1 died\x1b[K\nand came back\x1b[K\n") < text.index("part ")
    assert "died" not in drawn(screen, stream, ROWS)


def test_a_terminal_that_became_narrower_is_drawn_from_its_top(terminal: "list[tuple[int, int]]") -> None:
    """Its lines were broken, so how many there are now is not known."""
    stream = io.StringIO()
    screen = Screen(stream, is_coloured=False)
    drawn(screen, stream, ROWS)
    terminal[0] = (30, 24)
    text = drawn(screen, stream, ROWS)
    assert "\x1b[H\x1b[2J" in text
    assert "\x1b[7F" not in text


def test_a_watcher_who_has_gone_stops_nothing(terminal: object) -> None:
    stream = io.StringIO()
    stream.close()
    Screen(stream, is_coloured=False).draw(Picture(ROWS))


def test_what_nobody_drew_is_still_to_be_told() -> None:
    screen = Screen(io.StringIO(), is_coloured=False)
    screen.tell("api-1 died")
    assert screen.untold() == ["api-1 died"]
    assert screen.untold() == []
