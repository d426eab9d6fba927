"""What processes cost, and on what machine: read from /proc, so Linux only."""

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_QUIET_SHARE: Final = 0.10
"""Of one core, all that is watched together; below it they count as idle."""


class Tree(NamedTuple):
    """A process and all under it.

    Attributes:
        root: Its id.
        but: The ids of processes that are left out, with all under them.
        also: The ids of further processes that count with it, with all under them.
    """

    root: int
    but: tuple[int, ...] = ()
    also: tuple[int, ...] = ()


class Cpu(NamedTuple):
    """CPU time that a tree has used since its processes began; those that have ended count no more.

    Attributes:
        all_s: Of all its threads.
        niced_s: Of those that give way to others (nice(1) above 0), which in a Tidegate are the hash threads.
    """

    all_s: float
    niced_s: float


class Memory(NamedTuple):
    """Memory of a tree.

    Attributes:
        pss_mib: What would be free without it: pages that several processes share count once.
        rss_mib: What each process sees, added up.
    """

    pss_mib: float
    rss_mib: float


class ThreadStat(NamedTuple):
    """What proc_pid_stat(5) tells of a process or of one of its threads."""

    pid: int
    name: str
    parent: int
    ticks: int
    niceness: int


def parse_stat(text: str) -> ThreadStat:
    """Read the *text* of /proc/PID/stat. The name stands in brackets and may hold blanks and brackets itself."""
    pid, _, rest = text.partition(" (")
    name, _, fields = rest.rpartition(") ")
    values = fields.split()
    return ThreadStat(int(pid), name, int(values[1]), int(values[11]) + int(values[12]), int(values[16]))


def below(root: int, parents: Mapping[int, int]) -> set[int]:
    """Return *root* and every process under it, given the parent of each."""
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def members(tree: Tree, parents: Mapping[int, int]) -> set[int]:
    """Return the processes of *tree*, given the parent of each."""
    counted = {pid for root in (tree.root, *tree.also) for pid in below(root, parents)}
    return counted - {pid for left_out in tree.but for pid in below(left_out, parents)}


def child_named(parent: int, name: str) -> int | None:
    """Return the process under *parent* whose program is called *name*, the one nearest to it; None if there is none."""
    stats = _stats()
    under = below(parent, {stat.pid: stat.parent for stat in stats.values()})
    named = [pid for pid in under if stats[pid].name == name and stats[stats[pid].parent].name != name]
    return min(named, default=None)


def cpu(tree: Tree) -> Cpu:
    """Return what *tree* has used."""
    all_ticks = niced_ticks = 0
    for pid in _members_now(tree):
        for text in _texts(Path(f"/proc/{pid}/task").glob("*/stat")):
            thread = parse_stat(text)
            all_ticks += thread.ticks
            niced_ticks += thread.ticks if thread.niceness > 0 else 0
    return Cpu(all_ticks / _TICKS_PER_S, niced_ticks / _TICKS_PER_S)


def memory(tree: Tree) -> Memory:
    """Return what *tree* holds (proc_pid_smaps(5))."""
    kib = {"Pss": 0, "Rss": 0}
    for pid in _members_now(tree):
        for text in _texts([Path(f"/proc/{pid}/smaps_rollup")]):
            for line in text.splitlines():
                name, _, rest = line.partition(":")
                if name in kib:
                    kib[name] += int(rest.split()[0])
    return Memory(kib["Pss"] / 1024, kib["Rss"] / 1024)


def wait_until_quiet(trees: Iterable[Tree], *, timeout_s: float = 20.0) -> None:
    """Return when the processes do next to nothing: what is measured next must not pay for what was before."""
    watched = list(trees)
    ends_at = monotonic() + timeout_s
    while monotonic() < ends_at:
        before = sum(cpu(tree).all_s for tree in watched)
        sleep(0.4)
        if sum(cpu(tree).all_s for tree in watched) - before < 0.4 * _QUIET_SHARE:
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


def _members_now(tree: Tree) -> set[int]:
    stats = _stats()
    return members(tree, {stat.pid: stat.parent for stat in stats.values()}) & stats.keys()


def _stats() -> dict[int, ThreadStat]:
    paths = (folder / "stat" for folder in Path("/proc").iterdir() if folder.name.isdigit())
    return {stat.pid: stat for stat in map(parse_stat, _texts(paths))}


def _texts(paths: Iterable[Path]) -> Iterable[str]:
    for path in paths:
        try:
            yield path.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile


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
