"""Tells a waiting person how far a command is."""

import contextlib
import sys
from typing import Self


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
