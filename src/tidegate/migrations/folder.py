"""Reads migrations from their files and makes the next one, in dbmate's format: two parts of plain SQL, up and down."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from tidegate.migrations.errors import MigrationUnreadable

_FILE_NAME: Final = re.compile(r"(?P<version>[0-9]{4})_(?P<name>(?:pre|post)_[a-z0-9_]+)\.sql")
_PARTS: Final = re.compile(r"^-- migrate:up\n(?P<up>.*)^-- migrate:down\n(?P<down>.*)", re.MULTILINE | re.DOTALL)
_NAME: Final = re.compile(r"(?:pre|post)_[a-z0-9_]{1,60}")

TEMPLATE: Final = """\
-- What it is for, in a sentence.
-- Locks: which, on what, for how long at the size of production; for up and for down.
-- {survival}

-- migrate:up

-- migrate:down
"""

_SURVIVAL: Final = {
    "pre": "pre: the running release survives it.",
    "post": "post: the release before must be gone.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema.

    Attributes:
        version: Four digits; the order.
        name: Begins with ``pre_`` (the running release survives it) or ``post_`` (the release before must be gone).
        up: SQL.
        down: SQL that takes back what `up` did.
        checksum: SHA-256 of the file's text, line ends as on Unix.
    """

    version: str
    name: str
    up: str
    down: str
    checksum: str


def packaged_migrations() -> tuple[Migration, ...]:
    """The migrations of this program, in their order."""
    return read_migrations(files("tidegate.migrations").joinpath("versions").iterdir())


def read_migrations(found: Iterable[Traversable]) -> tuple[Migration, ...]:
    """Return the migrations that *found* hold, in their order.

    Raises:
        MigrationUnreadable: One is misnamed, lacks a part, or has the version of another.
    """
    migrations: dict[str, Migration] = {}
    for file in found:
        if not file.name.endswith(".sql"):
            continue
        migration = _read(file.name, file.read_text("utf-8"))
        if migration.version in migrations:
            raise MigrationUnreadable(file.name, "another has this version")
        migrations[migration.version] = migration
    return tuple(migrations[version] for version in sorted(migrations))


def new_migration(folder: Path, name: str) -> Path:
    """Make the next file in *folder*, with the header to fill in, and return its path.

    Args:
        folder: Where migrations lie.
        name: Such as ``pre_add_session_family``.

    Raises:
        MigrationUnreadable: *name* is not of that form, or a file in *folder* is not a migration.
    """
    if not _NAME.fullmatch(name):
        raise MigrationUnreadable(name, "a name begins with pre_ or post_, then small letters, digits and underscores")
    existing = read_migrations(folder.iterdir())
    version = int(existing[-1].version) + 1 if existing else 1
    path = folder / f"{version:04}_{name}.sql"
    with path.open("x", encoding="utf-8") as file:
        file.write(TEMPLATE.format(survival=_SURVIVAL[name.partition("_")[0]]))
    return path


def _read(file_name: str, text: str) -> Migration:
    named = _FILE_NAME.fullmatch(file_name)
    if named is None:
        raise MigrationUnreadable(file_name, "a file is named like 0007_pre_add_session_family.sql")
    text = text.replace("\r\n", "\n")
    parts = _PARTS.search(text)
    if parts is None:
        raise MigrationUnreadable(file_name, "it needs the lines '-- migrate:up' and '-- migrate:down', in this order")
    return Migration(
        version=named["version"],
        name=named["name"],
        up=parts["up"].strip(),
        down=parts["down"].strip(),
        checksum=hashlib.sha256(text.encode()).hexdigest(),
    )
