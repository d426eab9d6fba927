"""The file that tells which lines were not imported and why, without anything of what stands in them."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tidegate.domain.user_imports import RefusedLine

_BEGINNING: Final = b'{"line": '
"""Of every line of ours."""


class ForeignFile(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """What lies there is no list of refused lines, and is left as it is."""


class UnwritableRefusals(Exception):  # noqa: N818 - as above
    """What was refused cannot be written down, so nothing more is imported."""


class RefusalFile:
    """Implements `ports.user_imports.RefusedLines`: `{"line": 3, "faults": [{"field": "..", "reason": ".."}]}`.

    Only its owner may read it. Where nothing was refused there is none.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened before the block begins."""
        self._path = path
        self.listed = 0
        """How many lines it tells of."""

    def __enter__(self) -> Self:
        """Open it, or make it.

        Raises:
            OSError: It cannot be had.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "r+b")
        return self

    def cut_back(self, lines_done: int) -> None:
        """See `ports.user_imports.RefusedLines.cut_back`.

        Raises:
            ForeignFile: It is none of ours.
        """
        self._file.seek(0)
        kept, self.listed = 0, 0
        for text in self._file:
            if not text.endswith(b"\n") and _BEGINNING.startswith(text[: len(_BEGINNING)]):
                break  # a crash cut it short, so it was not committed
            if _line_of(text) > lines_done:
                break
            kept += len(text)
            self.listed += 1
        self._file.seek(kept)
        self._file.truncate()

    def add(self, refused: Sequence[RefusedLine]) -> None:
        """See `ports.user_imports.RefusedLines.add`.

        Raises:
            UnwritableRefusals: The disk is full, perhaps.
        """
        if not refused:
            return
        told = [
            {"line": each.line, "faults": [{"field": f.field, "reason": f.reason} for f in each.faults]} for each in refused
        ]
        try:
            self._file.write(b"".join(json.dumps(each).encode() + b"\n" for each in told))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UnwritableRefusals(error.strerror) from None
        self.listed += len(refused)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it, and take it away if nothing stands in it."""
        is_empty = os.fstat(self._file.fileno()).st_size == 0
        with suppress(OSError):  # of a full disk has been told; what is not on it will be cut back
            self._file.close()
        if is_empty:
            self._path.unlink(missing_ok=True)


def _line_of(text: bytes) -> int:
    try:
        line = json.loads(text)["line"]
    except (ValueError, LookupError, TypeError):
        raise ForeignFile from None
    if not isinstance(line, int):
        raise ForeignFile
    return line


class NoRefusalFile:
    """Writes nothing down."""

    def cut_back(self, lines_done: int) -> None:
        """See `ports.user_imports.RefusedLines.cut_back`."""

    def add(self, refused: Sequence[RefusedLine]) -> None:
        """See `ports.user_imports.RefusedLines.add`."""
