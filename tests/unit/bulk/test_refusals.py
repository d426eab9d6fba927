"""The list of refused lines survives a crash, and what lies in its place and is none of ours is left alone."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.imports import refused_in
from tidegate.bulk.refusals import ForeignFile, RefusalFile, UnwritableRefusals
from tidegate.domain.errors import FieldFault
from tidegate.domain.user_imports import RefusedLine


def refused(line: int) -> RefusedLine:
    return RefusedLine(line, (FieldFault("email", "taken"),))


def test_what_was_not_committed_is_cut_back_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "list"
    with RefusalFile(path) as file:
        file.cut_back(1)
        file.add([refused(3), refused(5)])
        file.add([refused(9)])
    with path.open("ab") as torn:
        torn.write(b'{"li')
    with RefusalFile(path) as file:
        file.cut_back(9)
        assert file.listed == 3
        file.cut_back(5)
        file.add([refused(8)])
    assert refused_in(path) == [(3, "email=taken"), (5, "email=taken"), (8, "email=taken")]
    assert path.stat().st_mode & 0o777 == 0o600


def test_where_nothing_was_refused_no_list_is_left(tmp_path: Path) -> None:
    with RefusalFile(tmp_path / "list") as file:
        file.cut_back(0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["mine", "mine\n", "{}\n", "[]", '{"line": "x"}\n', "username,password_hash\nada,x\n"])
def test_another_file_is_left_as_it_is(text: str, tmp_path: Path) -> None:
    (path := tmp_path / "list").write_text(text)
    with RefusalFile(path) as file, pytest.raises(ForeignFile):
        file.cut_back(0)
    assert path.read_text() == text


def test_a_full_disk_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    with RefusalFile(tmp_path / "list") as file, pytest.raises(UnwritableRefusals, match="No space"):
        file.add([refused(1)])
