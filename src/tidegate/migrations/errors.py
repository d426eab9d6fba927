"""Why a migration is not run, or a program not started on a schema. For whoever operates Tidegate; none is a bug."""

# ruff: noqa: N818 - they name what is the case, as those of the domain do

from tidegate.domain.errors import TidegateError


class MigrationError(TidegateError):
    """The migrations and the database do not fit together."""


class SchemaNewerThanProgram(MigrationError):
    """The database has had migrations that this program does not have; start a newer one.

    Attributes:
        versions: Those.
    """

    def __init__(self, versions: tuple[str, ...]) -> None:
        super().__init__(*versions)
        self.versions = versions


class SchemaOlderThanProgram(MigrationError):
    """The program has migrations that the database has not had; run ``tidegate migrate up``.

    Attributes:
        versions: Those.
    """

    def __init__(self, versions: tuple[str, ...]) -> None:
        super().__init__(*versions)
        self.versions = versions


class MigrationChanged(MigrationError):
    """A migration that was applied reads otherwise now, so nobody knows what the schema is.

    Attributes:
        version: Which.
    """

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.version = version


class UnknownMigration(MigrationError):
    """There is no migration of this version.

    Attributes:
        version: As it was asked for.
    """

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.version = version


class MigrationUnreadable(MigrationError):
    """A file among the migrations is not one.

    Attributes:
        file: Its name.
        reason: What it lacks.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason


class MigrationBlocked(MigrationError):
    """Traffic, or another migration, held its locks for longer than we wait. Nothing was changed; try again.

    Attributes:
        version: Which could not be applied; None when another migration was running all the time.
    """

    def __init__(self, version: str | None) -> None:
        super().__init__(version)
        self.version = version


class MigrationFailed(MigrationError):
    """PostgreSQL refuses a migration. Nothing of it was changed.

    Attributes:
        version: Which.
        reason: What PostgreSQL says.
    """

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(version, reason)
        self.version = version
        self.reason = reason
