"""A disk that is full sooner than any other: a tmpfs of a few hundred megabytes, which only root may mount."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NEEDS_ROOT: Final = "only root may mount a small disk for the data folder"

_MIB: Final = 1 << 20
_SIZE_MIB: Final = 384
"""A PostgreSQL with the log of some minutes takes a third of it, and is copied there after a failover; all of it is memory
while it is full."""

_PORTION_BYTES: Final = (16 * _MIB, _MIB, 1 << 16, 1 << 12)

_KEEPER: Final = 'read -r _; umount -l -- "$1"'
"""Ends when we close its input or die, even by SIGKILL; a disk that somebody still uses goes when they do."""


@dataclass
class SmallDisk:
    """One, mounted.

    Attributes:
        folder: Where.
    """

    folder: Path

    def fill(self) -> None:
        """Leave no byte, also none that was given back since the last call."""
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for portion in _PORTION_BYTES:
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(handle, os.fstat(handle).st_size, portion)
        finally:
            os.close(handle)

    def give_back(self) -> None:
        """Leave the room that there was."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount one at *folder*, which is made, and unmount it in the end, whatever ends us.

    Raises:
        PermissionError: We may not.
    """
    if os.geteuid() != 0:
        raise PermissionError(NEEDS_ROOT)
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MIB}m,mode=0755", "tidegate-faults", str(folder)]
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, "keeper", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
        if mounted.returncode:
            raise PermissionError(f"{NEEDS_ROOT}, and it may not here: {mounted.stderr.strip()}")
        yield SmallDisk(folder)
    finally:
        keeper.communicate()
