"""Where imported users go, and where what was refused is written down."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tidegate.domain.user_imports import ImportProgress, RefusedLine


class ImportBatch(Protocol):
    """A transaction of an import."""

    async def add(self, rows: bytes) -> Sequence[RefusedLine]:
        """Add the users of *rows*, all but those of whom somebody else has a name or the id: these are returned, in order.

        Of two in one file the first is somebody else to the second.
        """

    async def note(self, progress: ImportProgress, *, is_last: bool) -> None:
        """Say that the file is done as far as *progress* tells, if and only if this transaction is committed."""


class UserImports(Protocol):
    """The imports of a database, by the digest of their file."""

    async def begin(self, progress: ImportProgress) -> ImportProgress:
        """How far the file is; if nobody has begun with it, it is as far as *progress* from now on."""

    def batch(self, before: ImportProgress) -> AbstractAsyncContextManager[ImportBatch]:
        """Open a transaction: committed when the block ends, taken back when it raises.

        Raises:
            ImportElsewhere: The file is not as far as *before*: another process is importing it.
        """


class ImportElsewhere(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """Another process is importing the same file into the same database."""


class BatchLost(Exception):  # noqa: N818 - as above
    """The database took a transaction back in favour of another's, and the same again may well succeed."""


class RefusedLines(Protocol):
    """The list of what was refused, which outlives a crash: what `add` has returned from is on disk."""

    def cut_back(self, lines_done: int) -> None:
        """Forget what is told of lines beyond *lines_done*: their batch was not committed."""

    def add(self, refused: Sequence[RefusedLine]) -> None:
        """Write them down."""
