"""An import that stops at any step goes on there: nobody is lost, doubled, or told twice."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from tidegate.domain.errors import FieldFault
from tidegate.domain.user_imports import CheckedBlock, ImportProgress, RefusedLine
from tidegate.ports.user_imports import BatchLost, ImportElsewhere
from tidegate.usecases.import_users import ImportUsers

START = ImportProgress(bytes_done=10, lines_done=1)
BLOCKS = [
    CheckedBlock(
        rows=b"ab", records=3, refused=(RefusedLine(3, (FieldFault("email", "invalid"),)),), bytes_done=20, lines_done=4
    ),
    CheckedBlock(rows=b"ca", records=2, refused=(), bytes_done=30, lines_done=6),
    CheckedBlock(
        rows=b"", records=1, refused=(RefusedLine(7, (FieldFault("email", "missing"),)),), bytes_done=40, lines_done=7
    ),
    CheckedBlock(rows=b"d", records=1, refused=(), bytes_done=50, lines_done=8),
]
SIZE = 50
TOLD = [(3, "email=invalid"), (6, "username=taken"), (7, "email=missing")]
FIRST_LINES = {b"ab": 2, b"ca": 5, b"d": 8}


class Killed(BaseException):
    """The process is."""


class Steps:
    """Counts what is done, and stops at one of it."""

    def __init__(self, error: BaseException, *, at: int) -> None:
        self._left = at
        self._error = error

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise self._error


@dataclass
class Database:
    """What is committed: a letter is a user."""

    users: list[str] = field(default_factory=list)
    progress: ImportProgress | None = None


@dataclass
class Imports:
    database: Database
    step: Steps

    async def begin(self, progress: ImportProgress) -> ImportProgress:
        self.step()
        self.database.progress = self.database.progress or progress
        self.step()
        return self.database.progress

    @asynccontextmanager
    async def batch(self, before: ImportProgress) -> AsyncIterator["Batch"]:
        self.step()
        assert self.database.progress is not None
        if self.database.progress.bytes_done != before.bytes_done:
            raise ImportElsewhere
        batch = Batch(Database(list(self.database.users), self.database.progress), self.step)
        yield batch
        self.step()
        self.database.users, self.database.progress = batch.found.users, batch.found.progress
        self.step()


@dataclass
class Batch:
    found: Database
    step: Steps

    async def add(self, rows: bytes) -> Sequence[RefusedLine]:
        self.step()
        refused = []
        for line, letter in enumerate(rows.decode(), FIRST_LINES.get(rows, 0)):
            if letter in self.found.users:
                refused.append(RefusedLine(line, (FieldFault("username", "taken"),)))
            else:
                self.found.users.append(letter)
        self.step()
        return refused

    async def note(self, progress: ImportProgress, *, is_last: bool) -> None:
        self.step()
        self.found.progress = replace(progress, ended_at=datetime.now(UTC) if is_last else None)


@dataclass
class Listed:
    step: Steps
    lines: list[RefusedLine]

    def cut_back(self, lines_done: int) -> None:
        self.step()
        self.lines[:] = [each for each in self.lines if each.line <= lines_done]

    def add(self, refused: Sequence[RefusedLine]) -> None:
        self.step()
        self.lines += refused
        self.step()


async def blocks(progress: ImportProgress) -> AsyncGenerator[CheckedBlock, None]:
    for block in BLOCKS:
        if block.bytes_done > progress.bytes_done:
            yield block


def import_once(database: Database, lines: list[RefusedLine], step: Steps, told: list[RefusedLine]) -> ImportProgress:
    run = ImportUsers(
        imports=Imports(database, step),
        refused_lines=Listed(step, lines),
        on_progress=lambda progress: None,
        on_refused=told.append,
    )
    return asyncio.run(run(blocks, start=START, size=SIZE))


@pytest.mark.parametrize("error", [Killed, OSError])
def test_wherever_it_stops_the_next_run_goes_on_there(error: type[BaseException]) -> None:
    for at in itertools.count(1):
        database, lines = Database(), list[RefusedLine]()
        stopped = False
        try:
            import_once(database, lines, Steps(error(), at=at), [])
        except (Killed, OSError):
            stopped = True
        progress = import_once(database, lines, Steps(Killed(), at=0), [])
        assert (progress.added, progress.refused) == (4, 3), at
        assert database.users == ["a", "b", "c", "d"], at
        assert [(each.line, str(each.faults[0])) for each in lines] == TOLD, at
        assert database.progress is not None
        assert database.progress.ended_at is not None
        if not stopped and at > 60:
            break


def test_a_batch_that_met_others_is_tried_again() -> None:
    """The steps of the first batch up to its commit."""
    for at in range(4, 11):
        told: list[RefusedLine] = []
        lines: list[RefusedLine] = []
        progress = import_once(Database(), lines, Steps(BatchLost(), at=at), told)
        assert (progress.added, progress.refused) == (4, 3), at
        assert [each.line for each in told] == [each.line for each in lines] == [line for line, _ in TOLD], at


def test_another_process_with_the_same_file_is_noticed_before_anything_is_added() -> None:
    database = Database(progress=START)

    async def further(progress: ImportProgress) -> AsyncGenerator[CheckedBlock, None]:
        database.progress = replace(START, bytes_done=20)
        yield BLOCKS[0]

    step = Steps(Killed(), at=0)
    run = ImportUsers(
        imports=Imports(database, step),
        refused_lines=Listed(step, []),
        on_progress=lambda progress: None,
        on_refused=lambda line: None,
    )
    with pytest.raises(ImportElsewhere):
        asyncio.run(run(further, start=START, size=SIZE))
    assert database.users == []


def test_a_file_that_is_done_is_not_read() -> None:
    database = Database()
    import_once(database, [], Steps(Killed(), at=0), [])
    progress = import_once(database, [], Steps(Killed(), at=3), [])  # to begin takes two steps
    assert progress.ended_at is not None
