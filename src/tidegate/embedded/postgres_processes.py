"""What a PostgreSQL server is doing, as its processes tell: one that answers nobody may recover for hours, or be lost.

PostgreSQL 18.6 does not notice when its recovery, after the death of a session, ends with an error before redo begins, of a
full disk say: the postmaster lives on, with all its helpers, and refuses everybody for ever.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_STOPPED: Final = frozenset("tT")
"""States of a process that somebody holds (proc(5))."""

_RECOVERING: Final = re.compile(rb"postgres: (?:\S+: )?startup\b")
_SERVING: Final = re.compile(rb"postgres: (?:\S+: )?walwriter\b")
"""A server that lets people in has one, and starts another when it dies; a standby recovers all the time. What PostgreSQL
calls its processes, behind the cluster's name if it has one (ps_status.c)."""


def is_recovering(postmaster: int) -> bool:
    """Whether *postmaster* has a process that recovers, or follows another server."""
    return any(_RECOVERING.match(title) for title in _children(postmaster))


def is_lost(postmaster: int) -> bool:
    """Whether *postmaster* neither serves nor recovers; for a moment that is so at each change of what it does."""
    try:
        state = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # it has ended, or this is no Linux
        return False
    titles = list(_children(postmaster))
    return state not in _STOPPED and not any(_RECOVERING.match(title) or _SERVING.match(title) for title in titles)


def _children(postmaster: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with contextlib.suppress(OSError):
                yield Path(f"/proc/{child}/cmdline").read_bytes()
