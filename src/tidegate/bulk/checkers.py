"""Lets several processes check blocks at once, and gives these back in the order of the file.

A block goes to a process through its standard input and comes back through its standard output. A process whose parent is
gone reads the end of its input and ends.
"""

import asyncio
import json
import os
import struct
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO, Final

from tidegate.bulk.files import Block
from tidegate.domain.errors import FieldFault
from tidegate.domain.user_imports import CheckedBlock, RefusedLine

_ASKED: Final = struct.Struct("!QI")
"""The number of the first line, and how many bytes follow."""

_ANSWERED: Final = struct.Struct("!III")
"""How many records there were, and how many bytes follow: of refused lines, and of rows."""

_BLOCKS_WAITING: Final = 2
"""For each process, checked and not yet taken: the database is kept busy, and memory is bounded."""

_PIPE_BYTES: Final = 1_048_576

CheckLines = Callable[[str, int], tuple[int, Sequence[RefusedLine], str]]
"""Checks the records of a text whose first line has that number: how many there are, the bad ones, the rows of the good."""


class CheckerEnded(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """A process that checks has ended before its time: killed, or by a bug that it has told of."""


def answer_all(source: BinaryIO, sink: BinaryIO, check: CheckLines) -> None:
    """Check whatever *source* asks for, to its end."""
    while len(head := source.read(_ASKED.size)) == _ASKED.size:
        first_line, size = _ASKED.unpack(head)
        content = source.read(size)
        if len(content) < size:
            return
        records, refused, text = check(content.decode(), first_line)
        told = json.dumps(
            [[each.line, [[fault.field, fault.reason] for fault in each.faults]] for each in refused]
        ).encode()
        rows = text.encode()
        sink.write(_ANSWERED.pack(records, len(told), len(rows)) + told)
        sink.write(rows)
        sink.flush()


class Checkers:
    """Some processes that check."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._turns = [asyncio.Lock() for _ in processes]

    async def check(self, blocks: Iterable[Block]) -> AsyncGenerator[CheckedBlock, None]:
        """Check *blocks*, some ahead of what is taken.

        Raises:
            CheckerEnded: One of the processes has.
        """
        pending: deque[asyncio.Task[CheckedBlock]] = deque()
        try:
            for number, block in enumerate(blocks):
                pending.append(asyncio.create_task(self._check(block, number % len(self._processes))))
                if len(pending) >= _BLOCKS_WAITING * len(self._processes):
                    yield await pending.popleft()
            while pending:
                yield await pending.popleft()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _check(self, block: Block, number: int) -> CheckedBlock:
        process = self._processes[number]
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        async with self._turns[number]:  # first come, first served
            try:
                process.stdin.write(_ASKED.pack(block.first_line, len(block.content)))
                process.stdin.write(block.content)
                await process.stdin.drain()
                head = await process.stdout.readexactly(_ANSWERED.size)
                records, told_bytes, row_bytes = _ANSWERED.unpack(head)
                told = json.loads(await process.stdout.readexactly(told_bytes))
                rows = await process.stdout.readexactly(row_bytes)
            except (asyncio.IncompleteReadError, ConnectionError):
                raise CheckerEnded from None
        return CheckedBlock(
            rows=rows,
            records=records,
            refused=tuple(RefusedLine(line, tuple(FieldFault(*fault) for fault in faults)) for line, faults in told),
            bytes_done=block.end.bytes_done,
            lines_done=block.end.lines_done,
        )


@asynccontextmanager
async def open_checkers(command: Sequence[str], *, count: int, greeting: bytes) -> AsyncIterator[Checkers]:
    """Start *count* times *command* and say *greeting* to each, which is one line.

    Raises:
        CheckerEnded: One of them does not run.
    """
    processes: list[Process] = []
    try:
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, limit=_PIPE_BYTES, process_group=0, cwd=os.getcwd()
            )
            processes.append(process)
            assert process.stdin is not None  # a pipe
            process.stdin.write(greeting + b"\n")
        yield Checkers(processes)
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.kill()
        for process in processes:
            await process.wait()
