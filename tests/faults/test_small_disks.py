"""The small disk: it is full to the last byte and empty again, and is gone whatever ends its run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.small_disks import NEEDS_ROOT, small_disk

ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason=NEEDS_ROOT)

RUN_THAT_IS_KILLED = """
import sys, time
from pathlib import Path
from tests.faults.small_disks import small_disk
with small_disk(Path(sys.argv[1])):
    print("mounted", flush=True)
    time.sleep(600)
"""


@ONLY_ROOT
def test_it_is_full_to_the_last_byte_until_room_is_given_back(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "row").write_bytes(b"x")
        disk.give_back()
        (disk.folder / "row").write_bytes(b"x")
    assert not os.path.ismount(tmp_path / "disk")


@ONLY_ROOT
def test_it_is_unmounted_also_when_its_run_is_killed(tmp_path):
    folder = tmp_path / "disk"
    run = subprocess.Popen([sys.executable, "-c", RUN_THAT_IS_KILLED, str(folder)], stdout=subprocess.PIPE)
    assert run.stdout is not None
    with run, run.stdout as said:
        assert said.readline() == b"mounted\n"
        assert os.path.ismount(folder)
        run.send_signal(signal.SIGKILL)
    give_up_at = time.monotonic() + 20
    while os.path.ismount(folder):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_whoever_may_not_mount_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="only root"), small_disk(tmp_path / "disk"):
        raise AssertionError("it was not refused")
    assert list(Path(tmp_path).iterdir()) == []
