"""Tells every process of a node at once which profiles have changed, by numbers in memory that all of them see."""

import mmap
import os
import secrets
from typing import Final
from uuid import UUID

_SLOTS: Final = 65_536
"""512 KiB. Users share a slot by chance, and a change makes the profiles of all of a slot be read anew: some few."""

_STAMP_BYTES: Final = 8
"""One aligned word, so no reader sees half a stamp."""


def make_stamp_memory() -> int:
    """A descriptor of new shared memory for `Stamps`, for child processes to inherit; it lives as long as any of them.

    Raises:
        OSError: The system offers none.
    """
    descriptor = os.memfd_create("tidegate-profile-stamps", os.MFD_CLOEXEC)
    os.truncate(descriptor, _SLOTS * _STAMP_BYTES)
    return descriptor


class Stamps:
    """For each user a number that is another one after each change of the profile.

    Random, not counted: two processes that renew a stamp at once never leave one that was there before.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the memory that *descriptor* of `make_stamp_memory` stands for; the descriptor may be closed then."""
        self._memory = mmap.mmap(descriptor, _SLOTS * _STAMP_BYTES)
        self._stamps = memoryview(self._memory).cast("Q")

    def of(self, user_id: UUID) -> int:
        """The stamp of *user_id* now."""
        return self._stamps[user_id.int % _SLOTS]

    def renew(self, user_id: UUID) -> None:
        """Let what was read of *user_id* before now be known as outdated, in every process, when this returns."""
        self._stamps[user_id.int % _SLOTS] = secrets.randbits(_STAMP_BYTES * 8)

    def close(self) -> None:
        """Unmap it."""
        self._stamps.release()
        self._memory.close()
