"""Where settings are found, which source wins, and what is refused."""

import stat
from pathlib import Path

import pytest

from tidegate.config import SettingsError
from tidegate.settings_sources import Given, UnreadableSettingsError, gather, write_settings


def found(folder: Path, environment: dict[str, str] | None = None, **more: bool) -> Given:
    return gather(environment=environment or {}, working_folder=folder, data_folder=folder / "data", **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path


def test_the_environment_wins_over_dotenv_and_both_over_the_data_folder(folder: Path) -> None:
    (folder / ".env").write_text("TIDEGATE_PORT=2\nTIDEGATE_HOST=dotenv\n")
    (folder / "data" / "tidegate.env").write_text("TIDEGATE_PORT=3\nTIDEGATE_HOST=up\nTIDEGATE_AUDIENCE=up\n")
    given = found(folder, {"TIDEGATE_PORT": "1"})
    assert given.texts == {"TIDEGATE_PORT": "1", "TIDEGATE_HOST": "dotenv", "TIDEGATE_AUDIENCE": "up"}
    assert given.sources["TIDEGATE_PORT"] == "the environment"
    assert given.sources["TIDEGATE_HOST"] == str(folder / ".env")


def test_a_data_folder_named_on_the_command_line_wins(folder: Path) -> None:
    """Whoever names one Tidegate must not change the users of another, which the environment happens to name."""
    (folder / "data" / "tidegate.env").write_text("TIDEGATE_PRIMARY_DSN=postgresql://up\n")
    given = found(folder, {"TIDEGATE_PRIMARY_DSN": "postgresql://other"}, is_data_folder_named=True)
    assert given.texts == {"TIDEGATE_PRIMARY_DSN": "postgresql://up"}


def test_a_mistyped_name_is_refused_with_the_right_one(folder: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^TIDEGATE_PROT in the environment is no setting; did you mean TIDEGATE_PORT\?$"
    ):
        found(folder, {"TIDEGATE_PROT": "1"})


def test_an_unknown_name_in_dotenv_is_refused(folder: Path) -> None:
    (folder / ".env").write_text("TIDEGATE_QUUX=1\n")
    with pytest.raises(SettingsError, match=r"^TIDEGATE_QUUX in .*/\.env is no setting; see `tidegate config list`$"):
        found(folder)


def test_names_of_others_are_left_alone(folder: Path) -> None:
    (folder / ".env").write_text("PATH=/tmp\nexport OTHER=1\n")
    assert found(folder, {"HOME": "/"}).texts == {}


@pytest.mark.parametrize("text", [b"TIDEGATE_PORT\n", b"TIDEGATE_HOST='a\n", b"\xff\xfe\n"])
def test_a_dotenv_that_cannot_be_read_is_refused(folder: Path, text: bytes) -> None:
    (folder / ".env").write_bytes(text)
    with pytest.raises(UnreadableSettingsError, match=r"/\.env cannot be read"):
        found(folder)


def test_a_folder_named_dotenv_is_refused(folder: Path) -> None:
    (folder / ".env").mkdir()
    with pytest.raises(
        UnreadableSettingsError, match=r"/\.env cannot be read \(Is a directory\); make it readable or remove"
    ):
        found(folder)


def test_the_text_of_a_broken_line_is_not_shown(folder: Path) -> None:
    (folder / ".env").write_text("TIDEGATE_REFRESH_MAC_KEY='hunter2\n")
    with pytest.raises(UnreadableSettingsError) as refused:
        found(folder)
    assert "hunter2" not in str(refused.value)
    assert "line 1" in str(refused.value)


def test_nothing_in_dotenv_is_expanded(folder: Path) -> None:
    (folder / ".env").write_text("TIDEGATE_AUDIENCE=${HOME}\n")
    assert found(folder).texts == {"TIDEGATE_AUDIENCE": "${HOME}"}


def test_what_is_written_is_read_again_and_is_its_owners_alone(folder: Path) -> None:
    path = folder / "data" / "tidegate.env"
    texts = {"TIDEGATE_AUDIENCE": 'it\'s a \\ $HOME "test" # here', "TIDEGATE_PORT": "1"}
    write_settings(path, texts)
    assert found(folder).texts == texts
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
