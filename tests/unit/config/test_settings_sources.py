"""Where settings are found, which source wins, and what is refused."""

import stat
from pathlib import Path

import pytest

from tidegate.config import SettingsError
from tidegate.settings_sources import (
    Given,
    UnreadableSettingsError,
    default_data_folder,
    gather,
    write_settings,
    written_by_up,
)


def found(folder: Path, environment: dict[str, str] | None = None) -> Given:
    return gather(environment=environment or {}, working_folder=folder)


def test_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TIDEGATE_PORT=2\nTIDEGATE_HOST=dotenv\n")
    given = found(tmp_path, {"TIDEGATE_PORT": "1"})
    assert given.texts == {"TIDEGATE_PORT": "1", "TIDEGATE_HOST": "dotenv"}
    assert given.sources == {"TIDEGATE_PORT": "the environment", "TIDEGATE_HOST": str(tmp_path / ".env")}


def test_a_mistyped_name_is_refused_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"^TIDEGATE_PROT in the environment is no setting; did you mean TIDEGATE_PORT\?$"
    ):
        found(tmp_path, {"TIDEGATE_PROT": "1"})


def test_an_unknown_name_in_dotenv_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TIDEGATE_FROBNICATE=1\n")
    with pytest.raises(SettingsError, match=r"^TIDEGATE_FROBNICATE in .*/\.env is no setting; see `tidegate config list`$"):
        found(tmp_path)


def test_names_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PATH=/tmp\nexport OTHER=1\n")
    assert found(tmp_path, {"HOME": "/"}).texts == {}


@pytest.mark.parametrize("text", [b"TIDEGATE_PORT\n", b"TIDEGATE_HOST='a\n", b"\xff\xfe\n"])
def test_a_dotenv_that_cannot_be_read_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ".env").write_bytes(text)
    with pytest.raises(UnreadableSettingsError, match=r"/\.env cannot be read"):
        found(tmp_path)


def test_a_folder_named_dotenv_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(
        UnreadableSettingsError, match=r"/\.env cannot be read \(Is a directory\); make it readable or remove"
    ):
        found(tmp_path)


def test_the_text_of_a_broken_line_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TIDEGATE_REFRESH_MAC_KEY='hunter2\n")
    with pytest.raises(UnreadableSettingsError) as refused:
        found(tmp_path)
    assert "hunter2" not in str(refused.value)
    assert "line 1" in str(refused.value)


def test_nothing_in_dotenv_is_expanded(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TIDEGATE_AUDIENCE=${HOME}\n")
    assert found(tmp_path).texts == {"TIDEGATE_AUDIENCE": "${HOME}"}


def test_what_is_written_is_read_again_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "tidegate.env"
    texts = {"TIDEGATE_AUDIENCE": 'it\'s a \\ $HOME "test" # here', "TIDEGATE_PORT": "1"}
    write_settings(path, texts)
    assert written_by_up(tmp_path).texts == texts
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_path_is_meant_from_where_it_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written down today is read tomorrow, in another folder."""
    monkeypatch.chdir(tmp_path)
    given = found(
        tmp_path, {"TIDEGATE_LOG_FILE": "a.log", "TIDEGATE_REFRESH_MAC_KEY_FILE": "key", "TIDEGATE_AUDIENCE": "a"}
    )
    assert given.texts["TIDEGATE_LOG_FILE"] == str(tmp_path / "a.log")
    assert given.texts["TIDEGATE_REFRESH_MAC_KEY_FILE"] == str(tmp_path / "key")
    assert given.texts["TIDEGATE_AUDIENCE"] == "a"


@pytest.mark.parametrize("home", ["/home/alice", None])
def test_the_default_data_folder_follows_the_user(monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_data_folder({"XDG_DATA_HOME": "/x"}) == Path("/var/lib/tidegate")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_data_folder({"XDG_DATA_HOME": "/x"}) == Path("/x/tidegate")

    def found_home(_class: type[Path]) -> Path:
        if home is None:
            raise RuntimeError
        return Path(home)

    monkeypatch.setattr(Path, "home", classmethod(found_home))
    expected = None if home is None else Path("/home/alice/.local/share/tidegate")
    assert default_data_folder({"XDG_DATA_HOME": "relative"}) == expected
