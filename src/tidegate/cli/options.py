"""The words that several commands share, and the settings that those words lead to."""

import argparse
import os
from pathlib import Path
from typing import Any

from tidegate.config import Settings, SettingsError, declared
from tidegate.settings_building import build_settings, read_one
from tidegate.settings_sources import Given, default_data_folder, gather, written_by_up

_DSN_NAMES = ("TIDEGATE_PRIMARY_DSN", "TIDEGATE_PRIMARY_DSN_FILE")


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--data-dir`` for a command that can work on what `tidegate up` runs."""
    parser.add_argument(
        "--data-dir",
        metavar="D",
        type=Path,
        help="work on the Tidegate that `tidegate up --data-dir D` runs, whatever the environment names",
    )


def read_given(arguments: argparse.Namespace, *, falls_back: bool) -> Given:
    """All that was said about settings.

    Args:
        arguments: With `data_dir` where the command has that word.
        falls_back: Where neither the environment nor .env names a database, take the Tidegate that `tidegate up` runs in
            the default data folder. Not for a server: it must not take over what another wrote for itself.

    Raises:
        SettingsError: As `gather`.
    """
    said = gather(environment=os.environ, working_folder=Path.cwd())
    named: Path | None = getattr(arguments, "data_dir", None)
    if named is not None:
        written = written_by_up(named.absolute())
        if not written.texts:
            raise SettingsError(
                f"nothing was written into {named} by `tidegate up`; start it there, or name another folder"
            )
        return written.over(said)
    if falls_back and not any(said.texts.get(name) for name in _DSN_NAMES):
        folder = data_folder(None, said)
        if folder is not None:
            return said.over(written_by_up(folder))
    return said


def read_settings(arguments: argparse.Namespace, *, falls_back: bool) -> Settings:
    """The settings of a command, checked. See `read_given`.

    Raises:
        SettingsError: What is wrong with them.
    """
    return build_settings(read_given(arguments, falls_back=falls_back).texts)


def read_alone(name: str, given: Given) -> Any:  # noqa: ANN401 - of the type that the setting declares
    """The setting called *name* alone, for a command that needs few and should not have to be given secrets.

    Raises:
        SettingsError: It is malformed, or missing and required.
    """
    setting = next(each for each in declared() if each.name == name)
    value = read_one(setting, given.texts)
    return setting.default if value is None else value


def read_dsn(given: Given) -> str:
    """The primary's DSN alone. Raises as `read_alone`."""
    return str(read_alone("primary_dsn", given))


def data_folder(named: Path | None, said: Given) -> Path | None:
    """The data folder: *named* on the command line, or set, or the default of this user; None if there is no home."""
    if named is not None:
        return named.absolute()
    text = said.texts.get("TIDEGATE_DATA_DIR", "")
    return Path(text) if text else default_data_folder(os.environ)
