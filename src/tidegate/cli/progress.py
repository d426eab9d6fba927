"""Tells a waiting person how far a command is."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Final, Self

SILENT_FOR_S: Final = 2.0
"""Whoever waits no longer than that asks nothing."""


class Progress:
    """One line on standard error, kept current where that is a terminal and written once where it is not."""

    def __init__(self, doing: str) -> None:
        """Nothing is written before the block begins.

        Args:
            doing: What takes so long, such as "measuring".
        """
        self._doing = doing
        self._is_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        """Begin the line."""
        self._write(f"tidegate: {self._doing}" + ("" if self._is_terminal else "\n"))
        return self

    def show(self, share: float) -> None:
        """Tell that *share* of it is done, 0 to 1."""
        if self._is_terminal:
            self._write(f"\rtidegate: {self._doing}, {share:4.0%}")

    def __exit__(self, *_: object) -> None:
        """End the line: what is printed next begins where nothing stands."""
        if self._is_terminal:
            self._write("\n")

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # whoever watched has gone
            sys.stderr.write(text)
            sys.stderr.flush()


class LateProgress:
    """A `Progress` that says nothing of what takes no longer than `SILENT_FOR_S`."""

    def __init__(self, doing: str) -> None:
        """Nothing is written before its time. Args as `Progress`."""
        self._progress = Progress(doing)
        self._is_shown = False
        self._share = 0.0

    def show(self, share: float) -> None:
        """Tell that *share* of it is done, 0 to 1, once anything is told."""
        self._share = share
        if self._is_shown:
            self._progress.show(share)

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[Self]:
        """What takes so long is inside the block."""
        waiting = asyncio.create_task(self._begin())
        try:
            yield self
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            if self._is_shown:
                self._progress.__exit__()

    async def _begin(self) -> None:
        await asyncio.sleep(SILENT_FOR_S)
        self._progress.__enter__()
        self._is_shown = True
        self._progress.show(self._share)


_BAR_CHARACTERS: Final = 24


class ProgressBar(Progress):
    """As `Progress`, with a bar and what else is to be told; where there is no terminal, a line at each tenth."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self._tenths = 0
        self._width = 0

    def show(self, share: float, told: str = "") -> None:
        """Tell that *share* of it is done, 0 to 1, and *told*."""
        if not self._is_terminal:
            if int(share * 10) > self._tenths:
                self._tenths = int(share * 10)
                self._write(f"tidegate: {self._doing}, {share:4.0%} {told}".rstrip() + "\n")
            return
        full = int(share * _BAR_CHARACTERS)
        text = f"tidegate: {self._doing} [{'#' * full}{'.' * (_BAR_CHARACTERS - full)}] {share:4.0%} {told}".rstrip()
        self._write(f"\r{text:{self._width}}")
        self._width = len(text)
