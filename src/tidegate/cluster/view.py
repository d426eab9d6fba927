"""How a cluster is shown: a table for a terminal of any size, kept current in its place while it runs."""

import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TextIO


class State(StrEnum):
    """How a part is."""

    UP = "up"
    STARTING = "starting"
    SILENT = "no answer"
    PAUSED = "paused"
    REPLAY_PAUSED = "replay paused"
    CUT = "cut"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One part, as it is shown. What does not apply to it, or is not known now, is None.

    Attributes:
        name: Such as "api-1".
        state: How it is.
        pid: Of its first process.
        deaths: How often it has died.
        requests_per_s: Answered.
        logins_per_s: Let in.
        p99_ms: What 99 of 100 requests took at most.
        waiting: Hashes that wait, or jobs.
        lag_bytes: How much of the primary's log a replica has not applied yet.
    """

    name: str
    state: State
    pid: int | None = None
    deaths: int = 0
    requests_per_s: float | None = None
    logins_per_s: float | None = None
    p99_ms: float | None = None
    waiting: int | None = None
    lag_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A cluster, as it is shown.

    Attributes:
        rows: Its parts.
        jobs: How many wait to be done; None: not known now.
    """

    rows: Sequence[Row]
    jobs: int | None = None


_COLOURS: Final[Mapping[State, str]] = {
    State.UP: "32",
    State.STARTING: "33",
    State.SILENT: "31",
    State.PAUSED: "33",
    State.REPLAY_PAUSED: "33",
    State.CUT: "35",
    State.DEAD: "31",
}
"""SGR parameters of ECMA-48."""


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if 0 < value < 10 else f"{value:.0f}"


def size(count: int | None) -> str:
    """So many bytes, in a unit that keeps them short."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1_000:
            return f"{_number(value)} {unit}"
        value /= 1_000
    return f"{_number(value)} GB"


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    text: Callable[[Row], str]
    is_number: bool
    rank: int
    """The highest go first where there is too little room."""


_COLUMNS: Final = (
    _Column("part", lambda row: row.name, is_number=False, rank=0),
    _Column("state", lambda row: row.state, is_number=False, rank=1),
    _Column("pid", lambda row: "" if row.pid is None else str(row.pid), is_number=True, rank=7),
    _Column("deaths", lambda row: str(row.deaths) if row.deaths else "", is_number=True, rank=8),
    _Column("req/s", lambda row: _number(row.requests_per_s), is_number=True, rank=2),
    _Column("logins/s", lambda row: _number(row.logins_per_s), is_number=True, rank=5),
    _Column("p99 ms", lambda row: _number(row.p99_ms), is_number=True, rank=4),
    _Column("waiting", lambda row: _number(row.waiting), is_number=True, rank=6),
    _Column("lag", lambda row: size(row.lag_bytes), is_number=True, rank=3),
)
_GAP: Final = "  "


def table(rows: Sequence[Row], *, width: int, is_coloured: bool) -> list[str]:
    """*rows* as lines of at most *width* letters: columns for which there is no room are left out, the last is cut."""
    cells = [[column.text(row) for row in rows] for column in _COLUMNS]
    widths = [max(len(column.title), *map(len, texts)) for column, texts in zip(_COLUMNS, cells, strict=True)]
    kept = set(range(len(_COLUMNS)))
    while sum(widths[index] for index in kept) + len(_GAP) * (len(kept) - 1) > width and len(kept) > 1:
        kept.remove(max(kept, key=lambda index: _COLUMNS[index].rank))
    shown = sorted(kept)
    lines = [_line([_COLUMNS[index].title for index in shown], shown, widths, width)]
    for number, row in enumerate(rows):
        line = _line([cells[index][number] for index in shown], shown, widths, width)
        lines.append(_coloured(line, row.state) if is_coloured else line)
    return lines


def _line(texts: Sequence[str], shown: Sequence[int], widths: Sequence[int], width: int) -> str:
    padded = [
        text.rjust(widths[index]) if _COLUMNS[index].is_number else text.ljust(widths[index])
        for text, index in zip(texts, shown, strict=True)
    ]
    return _GAP.join(padded).rstrip()[:width]


def _coloured(line: str, state: State) -> str:
    return re.sub(rf"(?<=  ){re.escape(state)}\b", f"\x1b[{_COLOURS[state]}m{state}\x1b[0m", line, count=1)


def page(picture: Picture, *, width: int, height: int, is_coloured: bool) -> list[str]:
    """All that is shown of a running cluster, in at most *height* lines of *width* letters."""
    requests = _number(sum(row.requests_per_s or 0.0 for row in picture.rows))
    logins = _number(sum(row.logins_per_s or 0.0 for row in picture.rows))
    jobs = "" if picture.jobs is None else f", {picture.jobs} jobs to do"
    lines = table(picture.rows, width=width, is_coloured=is_coloured)
    lines.append(f"{requests} requests/s, {logins} logins/s{jobs}; Ctrl-C stops it"[:width])
    return lines if len(lines) <= height else [*lines[: max(0, height - 1)], "..."[:width]][:height]


class Screen:
    """A page at the foot of a terminal, drawn anew in its place, with lines that stay above it.

    Only `draw` writes: a terminal that is held up by Ctrl-S holds up whoever draws, not whoever tells.
    """

    def __init__(self, stream: TextIO, *, is_coloured: bool) -> None:
        """Nothing is drawn before `draw`.

        Args:
            stream: A terminal.
            is_coloured: Whether states are coloured.
        """
        self._stream = stream
        self.is_coloured = is_coloured
        self._drawn = 0
        self._width = 0
        self._told: deque[str] = deque()

    def tell(self, text: str) -> None:
        """Put *text* above the page with its next drawing; it stays there. Any thread may."""
        self._told.append(text)

    def untold(self) -> list[str]:
        """The lines that were told and not written; they are not kept."""
        return [line for _ in range(len(self._told)) for line in self._told.popleft().splitlines()]

    def draw(self, picture: Picture) -> None:
        """Write what was told, and show *picture* instead of the one before."""
        self.draw_page(lambda width, height: page(picture, width=width, height=height, is_coloured=self.is_coloured))

    def draw_page(self, lines_of: Callable[[int, int], Sequence[str]]) -> None:
        """Write what was told, and show *lines_of* the width and height that there are instead of what was there before."""
        try:
            self._stream.write("".join(self._steps(self.untold(), lines_of)))
            self._stream.flush()
        except (OSError, ValueError):  # whoever watched has gone
            return

    def _steps(self, told: Sequence[str], lines_of: Callable[[int, int], Sequence[str]]) -> Iterator[str]:
        width, height = shutil.get_terminal_size()
        yield "\x1b[?2026h"  # whoever knows it shows nothing before the end of it
        if self._width > width:
            yield "\x1b[H\x1b[2J"  # what was drawn has been broken into more lines than we know of
        elif self._drawn:
            yield f"\x1b[{self._drawn}F"
        self._width = width
        # One column and one row less than there are: a terminal that is filled to its corner scrolls.
        lines = lines_of(width - 1, height - 1)
        for line in (*told, *lines):
            yield f"{line}\x1b[K\n"
        yield "\x1b[J\x1b[?2026l"
        self._drawn = len(lines)


def wants_colours(environment: Mapping[str, str]) -> bool:
    """Whether a terminal with *environment* is to be coloured (https://no-color.org)."""
    return not environment.get("NO_COLOR") and environment.get("TERM", "") != "dumb"


def may_redraw(stream: TextIO) -> bool:
    """Whether *stream* is a terminal on which a page can be kept current."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"
