"""What a migration's file must look like, and the file that is made for the next one."""

from pathlib import Path

import pytest

from tidegate.migrations.errors import MigrationUnreadable
from tidegate.migrations.folder import Migration, new_migration, packaged_migrations, read_migrations

GOOD = "-- Why.\n\n-- migrate:up\nSELECT 1;\n\n-- migrate:down\nSELECT 2;\n"


def written(folder: Path, name: str, text: str = GOOD) -> tuple[Migration, ...]:
    folder.joinpath(name).write_bytes(text.encode())
    return read_migrations(folder.iterdir())


def test_a_file_has_a_version_a_name_and_two_parts(tmp_path: Path) -> None:
    (migration,) = written(tmp_path, "0007_post_drop_old_token.sql")
    assert (migration.version, migration.name) == ("0007", "post_drop_old_token")
    assert (migration.up, migration.down) == ("SELECT 1;", "SELECT 2;")


def test_migrations_are_read_in_the_order_of_their_versions(tmp_path: Path) -> None:
    for version in ("0010", "0002", "0001"):
        found = written(tmp_path, f"{version}_pre_x.sql")
    assert [migration.version for migration in found] == ["0001", "0002", "0010"]


def test_every_character_counts_in_the_checksum_but_how_lines_end(tmp_path: Path) -> None:
    """Git may write other line ends on another system; that is the same migration."""
    (as_it_was,) = written(tmp_path, "0001_pre_x.sql")
    (elsewhere,) = written(tmp_path, "0001_pre_x.sql", GOOD.replace("\n", "\r\n"))
    (edited,) = written(tmp_path, "0001_pre_x.sql", GOOD.replace("Why", "How"))
    assert elsewhere == as_it_was
    assert edited.checksum != as_it_was.checksum


@pytest.mark.parametrize("name", ["1_pre_x.sql", "0001_x.sql", "0001_pre_.sql", "0001_pre_X.sql", "notes.sql"])
def test_a_misnamed_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MigrationUnreadable) as refused:
        written(tmp_path, name)
    assert refused.value.file == name


@pytest.mark.parametrize(
    "text", ["", "SELECT 1;", "-- migrate:up\nSELECT 1;", "-- migrate:down\nSELECT 2;\n-- migrate:up\nSELECT 1;"]
)
def test_a_file_without_both_parts_in_order_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MigrationUnreadable):
        written(tmp_path, "0001_pre_x.sql", text)


def test_two_files_of_one_version_are_refused(tmp_path: Path) -> None:
    written(tmp_path, "0001_pre_x.sql")
    with pytest.raises(MigrationUnreadable):
        written(tmp_path, "0001_pre_y.sql")


def test_the_next_file_is_numbered_and_readable(tmp_path: Path) -> None:
    first = new_migration(tmp_path, "pre_add_colour")
    second = new_migration(tmp_path, "post_drop_colour")
    assert (first.name, second.name) == ("0001_pre_add_colour.sql", "0002_post_drop_colour.sql")
    assert "-- pre: the running release survives it." in first.read_text()
    assert "-- post: the release before must be gone." in second.read_text()
    assert [(migration.up, migration.down) for migration in read_migrations(tmp_path.iterdir())] == [("", "")] * 2


@pytest.mark.parametrize("name", ["add_colour", "pre_", "pre_Add", "pre_a/../b", "pre_a b", ""])
def test_a_bad_name_makes_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(MigrationUnreadable):
        new_migration(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_ours_are_numbered_without_a_gap_and_say_what_they_lock() -> None:
    folder = Path(__file__).parents[2] / "src" / "tidegate" / "migrations" / "versions"
    numbers = [int(migration.version) for migration in packaged_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    for migration in packaged_migrations():
        header, _, _ = (folder / f"{migration.version}_{migration.name}.sql").read_text().partition("-- migrate:up")
        assert "\n-- Locks: " in header
        assert f"\n-- {migration.name.partition('_')[0]}: " in header
