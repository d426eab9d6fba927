"""Adds the users of a file, batch by batch, so that an import that was killed goes on where it was (ADR 0029)."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from tidegate.domain.user_imports import CheckedBlock, ImportProgress, RefusedLine
from tidegate.ports.user_imports import BatchLost, RefusedLines, UserImports

_TRIES_MAX: Final = 5
"""Of one batch that meets others who add the same names in another order: the database lets one of the two go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportUsers:
    """One import, or what is left of it.

    Attributes:
        on_progress: Told how far it is after each batch.
        on_refused: Told of every line that was refused, once it is.
    """

    imports: UserImports
    refused_lines: RefusedLines
    on_progress: Callable[[ImportProgress], None]
    on_refused: Callable[[RefusedLine], None]

    async def __call__(
        self, blocks: Callable[[ImportProgress], AsyncGenerator[CheckedBlock, None]], *, start: ImportProgress, size: int
    ) -> ImportProgress:
        """Add the users of the file and return how far it is: done, or done before.

        Args:
            blocks: The rest of the file from a point on, checked.
            start: Where its records begin.
            size: Of the file, in bytes.

        Raises:
            ImportElsewhere: Another process is at it.
            DatabaseUnavailable: What is committed stands, and the same import goes on there.
        """
        progress = await self.imports.begin(start)
        if progress.ended_at is not None:
            return progress
        self.refused_lines.cut_back(progress.lines_done)
        async with aclosing(blocks(progress)) as checked:
            async for block in checked:
                progress = await self._take(block, progress, is_last=block.bytes_done == size)
                self.on_progress(progress)
        if progress.bytes_done == start.bytes_done:  # a header and nothing else
            async with self.imports.batch(progress) as batch:
                await batch.note(progress, is_last=True)
        return progress

    async def _take(self, block: CheckedBlock, before: ImportProgress, *, is_last: bool) -> ImportProgress:
        for number in range(1, _TRIES_MAX + 1):
            try:
                async with self.imports.batch(before) as batch:
                    taken = await batch.add(block.rows)
                    refused = sorted((*block.refused, *taken), key=lambda each: each.line)
                    progress = before.after(block, refused=len(refused))
                    # On disk before the commit: what is done is told, and what is told too early is cut back.
                    self.refused_lines.add(refused)
                    await batch.note(progress, is_last=is_last)
                break
            except BatchLost:
                self.refused_lines.cut_back(before.lines_done)
                if number == _TRIES_MAX:
                    raise
        for line in refused:
            self.on_refused(line)
        return progress
