"""The command line finds its commands, teaches them, and ends with one sentence and the right code."""

import argparse
import os

import pytest

from tidegate import __version__
from tidegate.cli import exits, main
from tidegate.cli.exits import EXPECTED, CommandFailed, failure
from tidegate.config import SettingsError
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.embedded.server import EmbeddedServerError
from tidegate.migrations import errors as migration_errors
from tidegate.migrations.errors import MigrationError
from tidegate.settings_sources import UnreadableSettingsError
from tidegate.tokens.keys import KeyFileError


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code of a command that argparse ends, and all that was said."""
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out + said.err


def test_version_tells_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["version"]) == exits.DONE
    assert capsys.readouterr().out.startswith(f"tidegate {__version__} (Python 3.")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = told(capsys, "--help")
    assert code == exits.DONE
    for name in main.COMMANDS:
        assert f"\n    {name} " in said
    assert "api-process" not in said


@pytest.mark.parametrize("command", main.COMMANDS)
def test_each_command_teaches_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, said = told(capsys, command, "--help")
    assert code == exits.DONE
    assert f"examples:\n  tidegate {command}" in said


@pytest.mark.parametrize("words", [(), ("nonsense",), ("migrate",), ("migrate", "down", "0"), ("up", "--nonsense")])
def test_wrong_words_are_told_in_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    code, said = told(capsys, *words)
    assert code == exits.WRONG_WORDS
    assert said.startswith("tidegate: ")
    assert said.count("\n") == 1


EXPECTED_ERRORS = [
    (SettingsError("a"), exits.WRONG_SETTINGS),
    (UnreadableSettingsError("a"), exits.UNREADABLE_FILE),
    (DatabaseUnavailable(), exits.UNAVAILABLE),
    (EmbeddedServerError("a"), exits.UNAVAILABLE),
    (KeyFileError("A."), exits.WRONG_SETTINGS),
    (migration_errors.SchemaNewerThanProgram(("0009",)), exits.WRONG_SCHEMA),
    (migration_errors.SchemaOlderThanProgram(("0009",)), exits.WRONG_SCHEMA),
    (migration_errors.MigrationChanged("0001"), exits.WRONG_SCHEMA),
    (migration_errors.UnknownMigration("0001"), exits.WRONG_WORDS),
    (migration_errors.MigrationBlocked("0001"), exits.IN_USE),
    (migration_errors.MigrationBlocked(None), exits.IN_USE),
    (migration_errors.MigrationFailed("0001", "syntax error"), exits.REFUSED),
    (migration_errors.MigrationUnreadable("a.sql", "it is empty"), exits.REFUSED),
]


@pytest.mark.parametrize(("error", "code"), EXPECTED_ERRORS)
def test_what_is_expected_to_go_wrong_is_told_and_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    def fail(_arguments: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr("tidegate.cli.version.run", fail)
    assert main.main(["version"]) == code
    said = capsys.readouterr().err
    assert said.startswith("tidegate: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_every_expected_error_has_its_row_above() -> None:
    tried = {type(error) for error, _ in EXPECTED_ERRORS}
    subclasses = {
        each for each in vars(migration_errors).values() if isinstance(each, type) and issubclass(each, MigrationError)
    }
    assert tried >= (set(EXPECTED) | subclasses) - {MigrationError}


def test_a_migration_error_of_tomorrow_has_an_answer_too() -> None:
    class UnheardError(MigrationError):
        pass

    assert failure(UnheardError()).code == exits.REFUSED


def test_each_sentence_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_arguments: argparse.Namespace) -> int:
        raise CommandFailed(exits.REFUSED, "one", "two")

    monkeypatch.setattr("tidegate.cli.version.run", fail)
    assert main.main(["version"]) == exits.REFUSED
    assert capsys.readouterr().err == "tidegate: one\ntidegate: two\n"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_arguments: argparse.Namespace) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("tidegate.cli.version.run", fail)
    with pytest.raises(ZeroDivisionError):
        main.main(["version"])


def test_the_codes_are_those_that_help_tells(capsys: pytest.CaptureFixture[str]) -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)} - {os.EX_OK}
    _, said = told(capsys, "--help")
    assert codes == {int(word) for word in said.partition("exit codes")[2].split() if word.isdecimal()}
