"""Every way in which a command ends, and the one sentence it says: what happened, and what to do.

The codes are those of sysexits.h, so that a script or a service manager can tell what is worth another try.
"""

import os
from typing import Final

from tidegate.config import SettingsError
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.embedded.server import EmbeddedServerError
from tidegate.migrations.errors import (
    MigrationBlocked,
    MigrationChanged,
    MigrationError,
    MigrationFailed,
    MigrationUnreadable,
    SchemaNewerThanProgram,
    SchemaOlderThanProgram,
    UnknownMigration,
)
from tidegate.settings_sources import UnreadableSettingsError
from tidegate.tokens.keys import KeyFileError, NoKeyFile, RotationUnderWay

DONE: Final = os.EX_OK
UNTRUE: Final = 1
"""What was to be verified does not hold."""
WRONG_WORDS: Final = os.EX_USAGE
REFUSED: Final = os.EX_DATAERR
"""What was asked for breaks a rule, such as a password that is too short."""
UNREADABLE_FILE: Final = os.EX_NOINPUT
NO_SUCH_USER: Final = os.EX_NOUSER
UNAVAILABLE: Final = os.EX_UNAVAILABLE
"""The database, or something else that we need, is away; worth another try."""
PORT_TAKEN: Final = os.EX_OSERR
WRONG_PYTHON: Final = os.EX_OSFILE
"""./run and ./test say so, before there is a Python to run this."""
CANNOT_CREATE: Final = os.EX_CANTCREAT
IN_USE: Final = os.EX_TEMPFAIL
"""The data folder is another's now."""
WRONG_SCHEMA: Final = os.EX_PROTOCOL
FOREIGN_FOLDER: Final = os.EX_NOPERM
WRONG_SETTINGS: Final = os.EX_CONFIG


class CommandFailed(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """A command cannot go on.

    Attributes:
        code: One of this module.
        sentences: What happened and what to do.
    """

    def __init__(self, code: int, *sentences: str) -> None:
        super().__init__(code, *sentences)
        self.code = code
        self.sentences = sentences


EXPECTED: Final = (
    SettingsError,
    DatabaseUnavailable,
    MigrationError,
    KeyFileError,
    EmbeddedServerError,
)
"""What may come out of the parts that a command calls; anything else is a bug and shows its traceback."""


def failure(error: Exception) -> CommandFailed:
    """How *error*, one of `EXPECTED`, is told."""
    match error:
        case UnreadableSettingsError():
            return CommandFailed(UNREADABLE_FILE, *error.faults)
        case SettingsError():
            return CommandFailed(WRONG_SETTINGS, *error.faults)
        case DatabaseUnavailable():
            return CommandFailed(
                UNAVAILABLE,
                "the database cannot be reached; start it, or correct TIDEGATE_PRIMARY_DSN (`tidegate config check` tells "
                "where that comes from)",
            )
        case MigrationError():
            return _migration_failure(error)
        case RotationUnderWay():
            return CommandFailed(IN_USE, str(error))
        case NoKeyFile():
            return CommandFailed(WRONG_SETTINGS, f"{error} `tidegate keys rotate` makes it")
        case KeyFileError():
            return CommandFailed(WRONG_SETTINGS, str(error))
        case _:
            return CommandFailed(UNAVAILABLE, str(error))


def _migration_failure(error: MigrationError) -> CommandFailed:
    match error:
        case SchemaOlderThanProgram(versions=versions):
            return CommandFailed(
                WRONG_SCHEMA, f"the database lacks the migrations {_listed(versions)}; run `tidegate migrate up` first"
            )
        case SchemaNewerThanProgram(versions=versions):
            return CommandFailed(
                WRONG_SCHEMA,
                f"the database has migrations that this program does not know ({_listed(versions)}); start a newer program",
            )
        case MigrationChanged(version=version):
            return CommandFailed(
                WRONG_SCHEMA, f"migration {version} was applied but reads otherwise now; restore its file as it was"
            )
        case UnknownMigration(version=version):
            return CommandFailed(WRONG_WORDS, f"there is no migration {version}; `tidegate migrate status` lists them")
        case MigrationBlocked(version=version):
            blocked = f"migration {version} found its table locked" if version else "another migration is running"
            return CommandFailed(IN_USE, f"{blocked} all the time, and nothing was changed; try again")
        case MigrationFailed(version=version, reason=reason):
            return CommandFailed(REFUSED, f"PostgreSQL refuses migration {version} ({reason}); nothing of it was changed")
        case MigrationUnreadable(file=file, reason=reason):
            return CommandFailed(REFUSED, f"{file} is no migration: {reason}")
        case _:
            return CommandFailed(REFUSED, f"the migration failed ({type(error).__name__})")


def _listed(versions: tuple[str, ...]) -> str:
    return ", ".join(versions)
