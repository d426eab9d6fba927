"""Many users in and out: the import with its processes, and the export."""

import json
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tidegate.bulk.checkers import CheckerEnded, open_checkers
from tidegate.bulk.files import SUFFIXES, Point, UnfitFile, UserFile, examine
from tidegate.bulk.records import FileFormat
from tidegate.bulk.refusals import ForeignFile, NoRefusalFile, RefusalFile, UnwritableRefusals
from tidegate.config import Settings
from tidegate.domain.user_imports import CheckedBlock, ImportProgress, RefusedLine
from tidegate.ports.user_imports import BatchLost, ImportElsewhere
from tidegate.storage.user_imports import Taker, export_users, open_user_imports
from tidegate.usecases.import_users import ImportUsers

__all__ = [
    "SUFFIXES",
    "BatchLost",
    "CheckerEnded",
    "FileFormat",
    "ForeignFile",
    "ImportElsewhere",
    "ImportOrder",
    "UnfitFile",
    "UnwritableRefusals",
    "UserFile",
    "examine",
    "export",
    "import_file",
]

_CHECKER: Final = (sys.executable, "-P", "-m", "tidegate", "import-process")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOrder:
    """What is to be imported, and how.

    Attributes:
        file: Found fit.
        ignored: Columns that are not to be read.
        processes: How many are to check.
        refusals: Where refused lines are written down; None: nowhere.
        is_rehearsed: Everything is checked, and nothing written.
        is_anew: As if the file had never been imported.
        block_bytes: How much of the file makes one transaction.
        on_progress: Told after each batch.
        on_refused: Told of each refused line.
    """

    file: UserFile
    ignored: frozenset[str]
    processes: int
    refusals: Path | None
    is_rehearsed: bool
    is_anew: bool
    block_bytes: int
    on_progress: Callable[[ImportProgress], None]
    on_refused: Callable[[RefusedLine], None]


async def import_file(settings: Settings, order: ImportOrder) -> ImportProgress:
    """Add the users of the file, from where an earlier import of it has come to.

    Raises:
        DatabaseUnavailable: What is committed stands; the same again goes on there.
        ImportElsewhere: Another process is at it.
        BatchLost: Others have been in the way too often; the same again goes on.
        CheckerEnded: A process that checks was killed; likewise.
        UnfitFile: The file was changed meanwhile.
        ForeignFile: Another file lies where refused lines are to be written down.
        UnwritableRefusals: These cannot be written down.
        OSError: A file cannot be opened.
    """
    file = order.file
    greeting = {
        "format": file.format,
        "columns": file.columns,
        "ignored": sorted(order.ignored),
        "phone_region": settings.phone_region,
        "now": datetime.now(UTC).isoformat(),
    }
    start = ImportProgress(bytes_done=file.start.bytes_done, lines_done=file.start.lines_done)
    writing: AbstractContextManager[RefusalFile | NoRefusalFile] = (
        nullcontext(NoRefusalFile()) if order.refusals is None else RefusalFile(order.refusals)
    )
    async with (
        open_user_imports(
            dsn=settings.primary_dsn,
            connect_timeout_s=settings.database_connect_timeout_ms / 1000,
            digest=file.digest,
            is_rehearsed=order.is_rehearsed,
        ) as imports,
        open_checkers(_CHECKER, count=order.processes, greeting=json.dumps(greeting).encode()) as checkers,
    ):
        if order.is_anew and not order.is_rehearsed:
            await imports.forget()

        def blocks(progress: ImportProgress) -> AsyncGenerator[CheckedBlock, None]:
            since = Point(progress.bytes_done, progress.lines_done)
            return checkers.check(file.blocks(since, block_bytes=order.block_bytes))

        with writing as refused_lines:
            run = ImportUsers(
                imports=imports,
                refused_lines=refused_lines,
                on_progress=order.on_progress,
                on_refused=order.on_refused,
            )
            return await run(blocks, start=start, size=file.size)


async def export(settings: Settings, take: Taker, *, file_format: FileFormat, with_hashes: bool) -> int:
    """Hand over all users. See `storage.user_imports.export_users`."""
    return await export_users(
        take,
        dsn=settings.primary_dsn,
        connect_timeout_s=settings.database_connect_timeout_ms / 1000,
        is_csv=file_format is FileFormat.CSV,
        with_hashes=with_hashes,
    )
