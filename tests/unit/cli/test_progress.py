"""Who watches a terminal sees how far it is; a file gets one line."""

import io
import sys

import pytest

from tidegate.cli.progress import Progress, ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress("measuring") as progress:
        progress.show(0.5)
        progress.show(1)
    return stream.getvalue()


def test_a_terminal_is_kept_current(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal())
    assert text == "tidegate: measuring\rtidegate: measuring,  50%\rtidegate: measuring, 100%\n"


def test_a_file_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == "tidegate: measuring\n"


def test_a_watcher_who_has_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    with Progress("measuring") as progress:
        progress.show(0.5)


def barred(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with ProgressBar("importing") as bar:
        for share, told in [(0.05, "5 users"), (0.25, "25 users"), (0.26, "26 users"), (1.0, "all")]:
            bar.show(share, told)
    return stream.getvalue()


def test_a_bar_grows_and_leaves_nothing_of_what_was_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_, last = barred(monkeypatch, Terminal()).split("\r")
    assert first == "tidegate: importing"
    assert last == f"tidegate: importing [{'#' * 24}] 100% all     \n"


def test_a_file_gets_a_line_at_each_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    assert barred(monkeypatch, io.StringIO()).splitlines() == [
        "tidegate: importing",
        "tidegate: importing,  25% 25 users",
        "tidegate: importing, 100% all",
    ]
