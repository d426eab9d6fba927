"""Who watches a terminal sees how far it is; a file gets one line."""

import io
import sys

import pytest

from tidegate.cli.progress import Progress


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
