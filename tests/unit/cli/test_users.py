"""The password is asked for twice or read from a pipe, and a deletion is asked about."""

import argparse
import io
import sys

import pytest

from tidegate.cli import users
from tidegate.cli.exits import REFUSED, WRONG_WORDS, CommandFailed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answers(monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    """Let a person at a terminal type."""
    monkeypatch.setattr(sys, "stdin", Terminal())
    left = iter(typed)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(left))
    monkeypatch.setattr("builtins.input", lambda _prompt: next(left))


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_password_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, " as typed ", " as typed ")
    assert users._read_password(is_piped=False) == " as typed "


def test_two_passwords_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "one", "other")
    with pytest.raises(CommandFailed, match="the two passwords differ") as refused:
        users._read_password(is_piped=False)
    assert refused.value.code == REFUSED


@pytest.mark.parametrize(
    ("content", "password"), [(b"a b \n", "a b "), ("pässword".encode(), "pässword"), (b"a\nb\n", "a"), (b"", "")]
)
def test_a_piped_password_is_the_first_line_as_it_is(
    monkeypatch: pytest.MonkeyPatch, content: bytes, password: str
) -> None:
    pipe(monkeypatch, content)
    assert users._read_password(is_piped=True) == password


def test_a_piped_password_that_is_not_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"p\xe4ssword\n")
    with pytest.raises(CommandFailed, match="is not UTF-8"):
        users._read_password(is_piped=True)


def test_without_a_terminal_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"")
    for ask in (
        lambda: users._read_password(is_piped=False),
        lambda: users._confirm(argparse.Namespace(yes=False, user="a")),
    ):
        with pytest.raises(CommandFailed) as refused:
            ask()
        assert refused.value.code == WRONG_WORDS


def test_only_yes_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "yes", "y")
    users._confirm(argparse.Namespace(yes=False, user="alice"))
    with pytest.raises(CommandFailed, match="nothing was deleted"):
        users._confirm(argparse.Namespace(yes=False, user="alice"))
    users._confirm(argparse.Namespace(yes=True, user="alice"))
