"""What a plan takes for granted beside what was measured: each number with where it comes from, told with every plan."""

from typing import Final

from msgspec import Struct

from tidegate.calibration.figures import Hashing

SHARE_OF_HASHING: Final = 0.93
"""Logins that a node makes, of the hashes that its cores make with nothing else to do."""

LOAD_MAX: Final = 0.90
"""To which nodes are filled."""

BUSY_MAX: Final = 0.50
"""Share of the time that a core of the primary is to be busy."""

PRIMARY_CPU_MS: Final = 0.35
"""CPU time of a login in PostgreSQL."""

PROCESS_BYTES: Final = 100 << 20
"""Memory of an API process beside its hashes."""

CONNECTIONS_BESIDE: Final = 20
"""Connections to the primary for workers, commands and people."""

_RESULTS: Final = "bench/RESULTS.md, login-64"


class Assumption(Struct, frozen=True, kw_only=True):
    """Something that the arithmetic takes for granted.

    Attributes:
        text: What.
        source: Where it comes from.
    """

    text: str
    source: str


def assumptions(
    hashing: Hashing, *, within_s: float, connections_per_process: int, is_from_file: bool
) -> tuple[Assumption, ...]:
    """Everything that a plan rests on. See `capacity.plan`."""
    told = {
        f"a core makes {hashing.hashes_per_s_per_core:.1f} hashes/s while {hashing.threads} of them hash, and so does each "
        "core of each node": ("the file of --measured" if is_from_file else "measured just now on this machine")
        + _disturbance(hashing),
        f"a node makes {SHARE_OF_HASHING:.2f} as many logins as bare hashes": (
            f"{_RESULTS}: 0.94 with 64 and 0.96 with 512 connections, PostgreSQL and clients on the same cores"
        ),
        f"nodes are filled to {LOAD_MAX:.2f}, so that queues stay short and an uneven share hurts nobody": "a choice",
        f"everybody logs in once, with a password, evenly over the {within_s:g} s; whoever kept a refresh token costs no "
        "hash, and a peak of twice that rate needs twice as much": "the worst case but for the peak, which only you know",
        f"the primary spends {PRIMARY_CPU_MS:g} ms of CPU on a login and is to be busy for {BUSY_MAX:.0%} of the time; its "
        "disk keeps up with a commit for every batch": (
            f"{_RESULTS}, and src/tidegate/storage/coalescing.py; {BUSY_MAX:.0%} is a choice"
        ),
        f"an API process takes {PROCESS_BYTES >> 20} MiB beside its hashes": (
            "54 MiB resident of one with 256 connections and 44 of its parent, rounded up"
        ),
        f"a process holds {connections_per_process} connections; workers, commands and people take {CONNECTIONS_BESIDE}": (
            "TIDEGATE_DATABASE_CONNECTIONS and one that hears of revocations; the rest is a choice"
        ),
    }
    return tuple(Assumption(text=text, source=source) for text, source in told.items())


def _disturbance(hashing: Hashing) -> str:
    if not hashing.is_disturbed:
        return ""
    return (
        f"; other programs left {hashing.cpu_share:.0%} of the CPU time meanwhile, and by the CPU time of a hash, "
        f"{hashing.cpu_ms_each:.1f} ms, a core would make {1_000 / hashing.cpu_ms_each:.0f}: measure again when it is idle"
    )
