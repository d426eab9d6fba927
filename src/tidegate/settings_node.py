"""What this machine offers, a container's limits included: how many cores, how much memory."""

import os
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")
"""Where a container sees its own limits (cgroup v2); outside of one the files are missing."""


def usable_cores(*, cgroup: Path = _CGROUP) -> int:
    """Cores that this process may use: by its affinity, and by the container's quota, rounded down but at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def usable_memory_bytes(*, cgroup: Path = _CGROUP) -> int:
    """Memory of the machine, or of the container where that is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(cgroup / "memory.max")
    return min(memory, int(limit)) if limit.isdecimal() else memory


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
