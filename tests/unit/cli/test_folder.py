"""A data folder is made once, kept from others, and held by one at a time."""

import base64
import os
import stat
from pathlib import Path

import pytest

from tidegate.cli import folder as folder_module
from tidegate.cli.exits import CANNOT_CREATE, FOREIGN_FOLDER, IN_USE, CommandFailed
from tidegate.cli.folder import open_data_folder
from tidegate.embedded.children import SystemUser
from tidegate.tokens.keys import list_keys


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_with_its_modes_whatever_the_umask(tmp_path: Path) -> None:
    """PostgreSQL's user must get through the folder, nobody to the secrets."""
    before = os.umask(0o077)
    try:
        with open_data_folder(tmp_path / "a" / "b") as folder:
            assert mode(tmp_path / "a") == mode(folder.path) == 0o755
            assert mode(folder.path / "secrets") == 0o700
            assert mode(folder.path / "logs") == 0o750
    finally:
        os.umask(before)


def test_secrets_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    with open_data_folder(tmp_path) as folder:
        first = folder.refresh_mac_key().read_text(), folder.signing_keys().read_text()
        second = folder.refresh_mac_key().read_text(), folder.signing_keys().read_text()
        assert first == second
        assert mode(folder.refresh_mac_key()) == mode(folder.signing_keys()) == 0o600
        assert len(base64.urlsafe_b64decode(first[0].strip() + "=")) == 32
        assert len(list_keys(folder.signing_keys())) == 1


def test_two_folders_have_two_secrets(tmp_path: Path) -> None:
    with open_data_folder(tmp_path / "a") as one, open_data_folder(tmp_path / "b") as other:
        assert one.refresh_mac_key().read_text() != other.refresh_mac_key().read_text()


def test_a_second_one_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with open_data_folder(tmp_path), pytest.raises(CommandFailed) as refused, open_data_folder(tmp_path):
        pass
    assert refused.value.code == IN_USE
    assert refused.value.sentences[0].startswith(f"process {os.getpid()} runs Tidegate in {tmp_path} already; stop it")


def test_it_can_be_opened_again_and_knows_whether_it_was_closed(tmp_path: Path) -> None:
    with open_data_folder(tmp_path) as folder:
        assert not folder.was_killed
    (tmp_path / "lock").write_text("1\n")  # what kill -9 leaves
    with open_data_folder(tmp_path) as folder:
        assert folder.was_killed
    with open_data_folder(tmp_path) as folder:
        assert not folder.was_killed


def test_anothers_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Somebody(SystemUser):
        @classmethod
        def current(cls) -> SystemUser:
            return SystemUser("somebody", os.geteuid() + 1, 1)

    monkeypatch.setattr(folder_module, "SystemUser", Somebody)
    with pytest.raises(CommandFailed) as refused, open_data_folder(tmp_path):
        pass
    assert refused.value.code == FOREIGN_FOLDER
    assert f"the data folder {tmp_path} belongs to " in refused.value.sentences[0]
    assert "and you are somebody;" in refused.value.sentences[0]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed) as refused, open_data_folder(tmp_path / "file" / "data"):
        pass
    assert refused.value.code == CANNOT_CREATE
    assert str(tmp_path / "file" / "data") in refused.value.sentences[0]
