"""What processes cost, and on what machine: read from /proc, so Linux only."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from time import monotonic, sleep
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_QUIET_SHARE: Final = 0.05
"""Of one core; below it a server counts as idle."""


class CpuUse:
    """The CPU seconds that a tree of processes has used, by the name of the program: `postgres` or everything else.

    Args:
        root: The process whose children, and theirs, are counted with it.
    """

    def __init__(self, root: int) -> None:
        self._root = root

    def seconds(self) -> dict[str, float]:
        """Return what the processes that run now have used since they began; those that ended count no more."""
        used = {"tidegate": 0.0, "postgres": 0.0}
        for pid, name, ticks in _tree(self._root):
            used["postgres" if name == "postgres" and pid != self._root else "tidegate"] += ticks / _TICKS_PER_S
        return used

    def wait_until_quiet(self, *, timeout_s: float = 20.0) -> None:
        """Return when the processes do next to nothing: what is measured next must not pay for what was before."""
        ends_at = monotonic() + timeout_s
        while monotonic() < ends_at:
            before = sum(self.seconds().values())
            sleep(0.4)
            if sum(self.seconds().values()) - before < 0.4 * _QUIET_SHARE:
                return


def parse_busy_s(text: str) -> float:
    """Return the CPU seconds that the machine has spent on anything, from the *text* of /proc/stat (proc_stat(5)).

    That is user, nice, system, irq, softirq and steal: time in which the host let another machine run is lost as well.
    """
    ticks = [int(field) for field in text.partition("\n")[0].split()[1:]]
    return sum(ticks[i] for i in (0, 1, 2, 5, 6, 7)) / _TICKS_PER_S


def busy_s() -> float:
    """Return the CPU seconds that the machine has spent on anything since it started."""
    return parse_busy_s(Path("/proc/stat").read_text())


def own_s() -> float:
    """Return the CPU seconds that this process has used, all its threads together."""
    used = os.times()
    return used.user + used.system


def parse_stat(text: str) -> tuple[int, str, int, int]:
    """Return id, name, parent's id and CPU ticks from the *text* of /proc/PID/stat (proc_pid_stat(5)).

    The name stands in brackets and may hold blanks and brackets itself.
    """
    pid, _, rest = text.partition(" (")
    name, _, fields = rest.rpartition(") ")
    values = fields.split()
    return int(pid), name, int(values[1]), int(values[11]) + int(values[12])


def below(root: int, parents: dict[int, int]) -> set[int]:
    """Return *root* and every process under it, given the parent of each."""
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _tree(root: int) -> Iterable[tuple[int, str, int]]:
    stats = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                pid, name, parent, ticks = parse_stat((folder / "stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            stats[pid] = name, parent, ticks
    for pid in below(root, {pid: parent for pid, (_, parent, _) in stats.items()}) & stats.keys():
        name, _, ticks = stats[pid]
        yield pid, name, ticks


def cores() -> int:
    """Return how many cores we may use."""
    return len(os.sched_getaffinity(0))


def machine() -> dict[str, str | int]:
    """Return what a reader must know of the machine to compare figures; nothing that names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "cores": cores(),
        "cpu": model,
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
    }
