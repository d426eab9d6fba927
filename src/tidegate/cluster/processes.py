"""A part of the cluster is a tree of processes; a fault strikes the whole tree, or something of it would go on."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_STILL: Final = frozenset("tTZX")
"""States of a process that does nothing any more: stopped, traced, dead (proc(5))."""

_STOP_PATIENCE_S: Final = 2.0
_POLL_S: Final = 0.002

# `read` ends when the other end of the pipe closes, which the kernel does for whoever is killed.
_THAW: Final = 'read -r _; kill -CONT "$@" 2>/dev/null; exit 0'


def tree_of(pid: int) -> list[int]:
    """Process *pid* and all that descend from it, parents first; nothing if it has ended."""
    found = [pid] if _state(pid) else []
    for each in found:  # grows meanwhile
        for listed in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, listed.read_text().split())
    return found


def freeze(pid: int) -> list[int]:
    """Stop *pid* and all that descend from it, and return them: whoever was being born meanwhile, too."""
    give_up_at = time.monotonic() + _STOP_PATIENCE_S
    while True:
        members = tree_of(pid)
        moving = [member for member in members if _state(member) not in _STILL]
        if not moving or time.monotonic() > give_up_at:
            return members
        _send(moving, signal.SIGSTOP)
        time.sleep(_POLL_S)


def kill(pid: int) -> int:
    """End *pid* and all that descend from it at once, as a power failure would; return how many there were."""
    members = freeze(pid)  # so that none of them sees another one die
    _send(members, signal.SIGKILL)
    return len(members)


class Frozen:
    """Processes that stand still until `thaw`, or until we die: a stopped one would hear of nothing and stay for ever."""

    def __init__(self, pid: int) -> None:
        """Stop *pid* and all that descend from it."""
        self.members = freeze(pid)
        # In a group of its own, else Ctrl-C in the terminal would end it before us. Not bound to our life: it outlives us.
        self._thawer = subprocess.Popen(  # noqa: S603 - a text of ours, and numbers
            ["/bin/sh", "-c", _THAW, "sh", *map(str, reversed(self.members))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            process_group=0,
        )

    def thaw(self) -> None:
        """Let them go on, children first."""
        _send(list(reversed(self.members)), signal.SIGCONT)
        with self._thawer:
            pass  # closes its pipe and waits for its end


def _send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _state(pid: int) -> str:
    """One letter, or nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
