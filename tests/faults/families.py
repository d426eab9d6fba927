"""A process and its children: all that has to be killed or stopped together."""

import contextlib
import os
import signal
from pathlib import Path

from tests.support.lines import standing_still


def family_of(parent: int) -> list[int]:
    """*parent*, then its children."""
    with contextlib.suppress(FileNotFoundError):
        return [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]
    return [parent]


def kill_family(parent: int) -> None:
    """End *parent* and its children with kill -9, all at one moment: none has time to tell the others."""
    pids = family_of(parent)
    with standing_still(pids[:1]):  # a parent that runs would start its children again
        for pid in pids[1:]:
            kill(pid)
        kill(pids[0])


def kill(pid: int) -> None:
    """kill -9, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
