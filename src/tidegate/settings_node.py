"""What this machine offers, the limits of a container or a service included: how many cores, how much memory."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")
"""Which of them this process is in: one line, such as `0::/system.slice/tidegate.service` (cgroups(7), version 2)."""


def usable_cores(*, cgroups: Path = _CGROUPS, own_cgroup: Path = _OWN_CGROUP) -> int:
    """Cores that this process may use: by its affinity, and by its cgroups' quota, rounded down but at least 1.

    A core in part is none: threads that overdraw a quota are stopped for the rest of each period, the event loop with them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for limits in _limits("cpu.max", cgroups, own_cgroup):
        quota, _, period = limits.partition(" ")
        if quota.isdecimal() and period.isdecimal():
            cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def usable_memory_bytes(*, cgroups: Path = _CGROUPS, own_cgroup: Path = _OWN_CGROUP) -> int:
    """Memory of the machine, or of the cgroup where that is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [int(limit) for limit in _limits("memory.max", cgroups, own_cgroup) if limit.isdecimal()]
    return min([memory, *limits])


def share_of(total: int, *, of: int, number: int) -> int:
    """What the one with *number*, counted from 1, gets of *total* things that *of* share: the first get one more each."""
    return total // of + (number <= total % of)


def _limits(name: str, cgroups: Path, own_cgroup: Path) -> Iterator[str]:
    """What is in the files *name* of the cgroup of this process and of those around it: each of them limits it.

    A container that sees its own cgroup as the root has only that one; with version 1, or none at all, there are no files.
    """
    line = next((line for line in _read(own_cgroup).splitlines() if line.startswith("0::")), "0::/")
    own = cgroups / line.removeprefix("0::").strip("/")
    for folder in (own, *own.parents):
        yield _read(folder / name)
        if folder == cgroups:
            return


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
