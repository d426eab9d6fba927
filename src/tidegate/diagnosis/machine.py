"""Looks at the machine: what computes the hashes, on how many cores, in which memory, and which limits the kernel sets."""

import ctypes
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidegate.diagnosis.findings import Finding, Matter, ok, warning, wrong
from tidegate.passwords.engine import EngineChoice, engine_choice
from tidegate.passwords.profiles import PROFILES

OPEN_FILES_MIN: Final = 10_000
"""Of each API process, one for each client that is connected; a crowd's share of a node."""

_ROOT: Final = Path("/")

_TIME_ERROR: Final = 5
"""What adjtimex(2) returns while nothing keeps the clock."""

_TIMEX_BYTES: Final = 512
"""More than any system's struct timex; all zero, so that nothing is changed."""

_adjtimex: Final = getattr(ctypes.CDLL(None), "adjtimex", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What Tidegate makes of the machine.

    Attributes:
        cores: That it may use.
        memory_bytes: That it may use.
        processes: That serve.
        hash_threads: Of all of them.
        hash_profile: Of new hashes.
        backlog: Connections that are to wait in the kernel.
    """

    cores: int
    memory_bytes: int
    processes: int
    hash_threads: int
    hash_profile: str
    backlog: int

    @property
    def hash_bytes(self) -> int:
        """That all hash threads hold together."""
        return self.hash_threads * PROFILES[self.hash_profile].thread_bytes


def examine_machine(node: Node, *, root: Path = _ROOT) -> list[Finding]:
    """Everything that is to be said of this machine.

    Args:
        node: What Tidegate makes of it.
        root: Where /proc and /sys are.
    """
    soft_files, hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [
        hash_engine(engine_choice()),
        cores(node),
        memory(node, _read(root / "proc/meminfo")),
        huge_pages(_read(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        open_files(soft_files, hard_files),
        accept_queue(_read(root / "proc/sys/net/core/somaxconn"), wanted=node.backlog),
        clock(is_kept=_is_clock_kept()),
    ]


def hash_engine(choice: EngineChoice) -> Finding:
    """Which engine hashes, and why."""
    if choice.why_stock is None:
        return ok(Matter.HASHING, f"{choice.name}: the first of what this CPU can run, {', '.join(choice.variants)}")
    if choice.variants:
        return wrong(
            Matter.HASHING,
            f"{choice.name}, because {choice.why_stock}",
            "the build is broken: install Tidegate again, and report it if that does not help",
        )
    return warning(
        Matter.HASHING,
        f"{choice.name}, because {choice.why_stock}. It makes the same digests at 0.39 of the speed or less",
        "install a C compiler and Python's headers (gcc, python3-dev), then install Tidegate again",
    )


def cores(node: Node) -> Finding:
    """Whether there is a hash thread for each core, and no more."""
    machine_cores = os.cpu_count() or node.cores
    limited = f" of the machine's {machine_cores}, by affinity or quota" if machine_cores > node.cores else ""
    says = f"{node.cores} usable{limited}; {node.hash_threads} hash threads, TIDEGATE_API_PROCESSES is {node.processes}"
    if node.hash_threads > node.cores:
        return warning(
            Matter.CORES,
            f"{says}: more threads than cores hash slower, and each holds memory",
            "lower TIDEGATE_API_PROCESSES to the cores, and set TIDEGATE_HASH_THREADS=0",
        )
    if node.hash_threads < node.cores:
        return warning(
            Matter.CORES,
            f"{says}: {node.cores - node.hash_threads} of the cores never hash",
            "set TIDEGATE_HASH_THREADS=0, and TIDEGATE_API_PROCESSES so that it divides the cores, unless others need them",
        )
    return ok(Matter.CORES, says)


def memory(node: Node, meminfo: str) -> Finding:
    """Whether the hash threads find the memory that they will hold.

    Args:
        node: What Tidegate makes of the machine.
        meminfo: As in /proc/meminfo; empty where there is no such file.
    """
    available_bytes = _available_bytes(meminfo)
    says = f"{node.memory_bytes >> 20:,} MiB, {node.hash_bytes >> 20:,} of it for hashing"
    if available_bytes is None:
        return ok(Matter.MEMORY, says)
    says += f"; {available_bytes >> 20:,} available now"
    if available_bytes < node.hash_bytes:
        return warning(Matter.MEMORY, says, "free memory before you start Tidegate (fine if it runs already), or add some")
    return ok(Matter.MEMORY, says)


def _available_bytes(meminfo: str) -> int | None:
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1_024
    return None


def huge_pages(enabled: str) -> Finding:
    """Whether hash threads get the huge pages that they ask for.

    Args:
        enabled: As in /sys/kernel/mm/transparent_hugepage/enabled; empty where there is no such file.
    """
    chosen = enabled.partition("[")[2].partition("]")[0]
    if chosen in {"always", "madvise"}:
        return ok(Matter.HUGE_PAGES, f"{chosen}: hash threads get theirs")
    return warning(
        Matter.HUGE_PAGES,
        f"{chosen or 'this kernel has none'}: a hash of 19 MiB takes 2 to 5 % longer, bigger ones more",
        "write madvise into /sys/kernel/mm/transparent_hugepage/enabled, at every boot",
    )


def open_files(soft: int, hard: int) -> Finding:
    """Whether a process may hold a crowd's connections; -1 is no limit, as in setrlimit(2)."""
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES_MIN:
        return ok(Matter.OPEN_FILES, "without limit" if soft == resource.RLIM_INFINITY else f"{soft:,} a process")
    bound = "" if hard == resource.RLIM_INFINITY or hard >= OPEN_FILES_MIN else f", at most {hard:,} without root"
    return warning(
        Matter.OPEN_FILES,
        f"{soft:,} a process{bound}: each connected client takes one, and the next is not let in",
        "ulimit -n 65536 before you start Tidegate, or LimitNOFILE=65536 in its systemd unit",
    )


def accept_queue(somaxconn: str, *, wanted: int) -> Finding:
    """Whether the kernel lets as many connections wait as we ask for.

    Args:
        somaxconn: As in /proc/sys/net/core/somaxconn; empty where there is no such file.
        wanted: What we ask for.
    """
    if not somaxconn.isdecimal() or int(somaxconn) >= wanted:
        return ok(Matter.BACKLOG, f"{wanted:,} connections may wait to be accepted")
    return warning(
        Matter.BACKLOG,
        f"{int(somaxconn):,} connections may wait to be accepted where Tidegate asks for {wanted:,}; a storm needs them",
        f"sysctl -w net.core.somaxconn={wanted}, and the same in /etc/sysctl.d",
    )


def clock(*, is_kept: bool | None) -> Finding:
    """Whether something keeps the clock; None where the system does not tell."""
    if is_kept is False:
        return warning(
            Matter.CLOCK,
            "the kernel says that nothing keeps it right; tokens of a node that is wrong by 5 s are refused by the others",
            "start chrony or systemd-timesyncd here, or on the host of this container",
        )
    return ok(Matter.CLOCK, "kept right" if is_kept else "this system does not tell who keeps it")


def _is_clock_kept() -> bool | None:
    if _adjtimex is None:
        return None
    state = _adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else bool(state != _TIME_ERROR)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
