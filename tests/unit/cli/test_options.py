"""Which Tidegate a command means."""

import argparse
from pathlib import Path

import pytest

from tidegate.cli.options import data_folder, read_dsn, read_given
from tidegate.config import SettingsError
from tidegate.settings_sources import Given, write_settings

UP_DSN = "postgresql://up"
OTHER_DSN = "postgresql://other"


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.environ", {})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The default data folder, where `tidegate up` runs."""
    folder = tmp_path / "default"
    folder.mkdir()
    write_settings(folder / "tidegate.env", {"TIDEGATE_PRIMARY_DSN": UP_DSN, "TIDEGATE_PORT": "1"})
    monkeypatch.setattr("tidegate.cli.options.default_data_folder", lambda _environment: folder)
    return folder


def words(data_dir: Path | None = None) -> argparse.Namespace:
    return argparse.Namespace(data_dir=data_dir)


def test_without_a_word_a_command_means_the_one_that_runs_here(default: Path) -> None:
    assert read_dsn(read_given(words(), falls_back=True)) == UP_DSN


def test_a_server_does_not_take_over_what_another_wrote_for_itself(default: Path) -> None:
    assert read_given(words(), falls_back=False).texts == {}


def test_the_environment_names_another_and_nothing_is_mixed_in(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"TIDEGATE_PRIMARY_DSN": OTHER_DSN})
    assert read_given(words(), falls_back=True).texts == {"TIDEGATE_PRIMARY_DSN": OTHER_DSN}


def test_a_folder_on_the_command_line_wins_over_all(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names one Tidegate must not change the users of another, which the environment happens to name."""
    monkeypatch.setattr("os.environ", {"TIDEGATE_PRIMARY_DSN": OTHER_DSN})
    assert read_dsn(read_given(words(default), falls_back=False)) == UP_DSN


def test_a_folder_where_nothing_ever_ran_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing was written into"):
        read_given(words(tmp_path), falls_back=True)


def test_a_dsn_that_nobody_gave_is_asked_for() -> None:
    with pytest.raises(SettingsError, match=r"^TIDEGATE_PRIMARY_DSN is missing"):
        read_dsn(Given({}, {}))


def test_the_data_folder_is_the_named_one_else_the_set_one_else_the_default(default: Path, tmp_path: Path) -> None:
    said = Given({"TIDEGATE_DATA_DIR": "/set"}, {})
    assert data_folder(Path("named"), said) == tmp_path / "named"
    assert data_folder(None, said) == Path("/set")
    assert data_folder(None, Given({}, {})) == default
