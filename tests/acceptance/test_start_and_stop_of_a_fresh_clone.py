"""./run makes what it needs from a fresh clone, once, and mends what was cut short. Slow: it installs from the registry."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.commands import ROOT, environment_with

pytestmark = pytest.mark.full


@pytest.fixture
def clone() -> Iterator[Path]:
    """What git would give, behind a folder that others cannot enter."""
    closed = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    names = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    for name in filter(None, names):
        target = closed / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    yield closed / "clone"
    shutil.rmtree(closed, ignore_errors=True)


def start(clone: Path, words: Sequence[str] = ("version",)) -> "subprocess.Popen[str]":
    """With a LANG that is not installed, without a home, from another folder."""
    environment = environment_with({}) | {"LANG": "xx_YY", "LC_ALL": "xx_YY"}
    environment.pop("HOME", None)
    return subprocess.Popen(
        [clone / "run", *words],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def test_it_installs_once_and_then_only_runs(clone: Path) -> None:
    with start(clone) as first:
        said, progress = first.communicate()
    assert said.startswith("tidegate 0."), progress
    assert "tidegate: installing the pinned dependencies\n" in progress
    with start(clone) as second:
        assert second.communicate() == (said, "")
    constraints = clone / "constraints.txt"
    constraints.write_text(constraints.read_text() + "# changed\n")
    with start(clone) as third:
        assert "tidegate: installing the pinned dependencies\n" in third.communicate()[1]


def test_two_at_once_install_once(clone: Path) -> None:
    with start(clone) as one, start(clone) as other:
        ended = [one.communicate(), other.communicate()]
    assert [said.startswith("tidegate 0.") for said, _ in ended] == [True, True]
    progress = "".join(told for _, told in ended)
    assert progress.count("tidegate: installing the pinned dependencies\n") == 1
    assert "tidegate: waiting for another installation in this folder\n" in progress


def test_what_was_cut_short_is_mended(clone: Path) -> None:
    with start(clone) as killed:
        log = clone / ".venv" / "install.log"
        while not (log.exists() and "Collecting" in log.read_text()):
            assert killed.poll() is None
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
    with start(clone) as again:
        said, progress = again.communicate()
    assert said.startswith("tidegate 0."), progress
    assert f"tidegate: making {clone}/.venv" in progress
