"""Finds out whether a file of users can be imported before anything is, and cuts it into blocks of whole records."""

import codecs
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tidegate.bulk.records import FIELD_CHARACTERS_MAX, BrokenQuotes, FileFormat, rows_of
from tidegate.domain.user_imports import FIELDS, IDENTIFIER_FIELDS, KEYCLOAK_FIELDS, PLAIN_PASSWORD_FIELD, told_name

_READ_BYTES: Final = 2_097_152

_LINE_BYTES_MAX: Final = 1_048_576

_HEADER_BYTES_MAX: Final = 65_536

SUFFIXES: Final = {".csv": FileFormat.CSV, ".jsonl": FileFormat.JSON_LINES, ".ndjson": FileFormat.JSON_LINES}


class UnfitFile(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """The file cannot be imported as it is; nothing of it was. Its text says what to do."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place between two records of a file.

    Attributes:
        bytes_done: What lies before, in bytes.
        lines_done: Likewise, in lines.
    """

    bytes_done: int
    lines_done: int


@dataclass(frozen=True, slots=True, repr=False)
class Block:
    """Some whole records. Has no repr: it holds password hashes.

    Attributes:
        first_line: Its number in the file, from 1.
        end: Where the next block begins.
        content: In UTF-8.
    """

    first_line: int
    end: Point
    content: bytes


@dataclass(frozen=True, slots=True)
class UserFile:
    """A file that has been found fit.

    Attributes:
        path: Where it lies.
        format: How its records are written.
        columns: Of CSV, what each field is called; None: it is not to be read.
        start: Where its records begin.
        size: In bytes.
        modified_ns: When it was last written to.
        digest: SHA-256 of it.
    """

    path: Path
    format: FileFormat
    columns: tuple[str | None, ...]
    start: Point
    size: int
    modified_ns: int
    digest: bytes

    def blocks(self, since: Point, *, block_bytes: int) -> Iterator[Block]:
        """Cut what lies behind *since* into blocks.

        Raises:
            UnfitFile: It was changed meanwhile.
        """
        with self.path.open("rb") as file:
            file.seek(since.bytes_done)
            for block in _blocks(file, self.format, since, block_bytes):
                now = os.fstat(file.fileno())
                if (now.st_size, now.st_mtime_ns) != (self.size, self.modified_ns):
                    raise UnfitFile(
                        f"{self.path} was written to while it was read; start again when it is whole: what was imported "
                        "of it is then refused as taken"
                    )
                yield block


def examine(path: Path, format_: FileFormat, *, ignored: frozenset[str], on_progress: Callable[[float], None]) -> UserFile:
    """Read all of *path* once.

    Args:
        path: A regular file.
        format_: How its records are written.
        ignored: Columns that are not to be read.
        on_progress: Told what share of it is read.

    Raises:
        UnfitFile: It is not UTF-8, no CSV with a header that we know, or no file that can be read twice.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UnfitFile(f"{path} is no regular file, and could not be gone on with; write what it holds into one")
        digest = hashlib.sha256()
        head = file.readline(_HEADER_BYTES_MAX)
        mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
        columns: tuple[str | None, ...] = ()
        start = Point(mark, 0)
        if format_ is FileFormat.CSV:
            columns = _columns(_header(path, head[mark:]), path, ignored)
            start = Point(len(head), 1)
        digest.update(head[: start.bytes_done])
        file.seek(start.bytes_done)
        end = start
        try:
            for block in _blocks(file, format_, start, _READ_BYTES):
                digest.update(block.content)
                _text(block.content, lines_before=block.first_line - 1)
                end = block.end
                on_progress(end.bytes_done / max(1, found.st_size))
        except UnfitFile as unfit:
            raise UnfitFile(f"{path}: {unfit}; nothing was imported") from None
    if end.bytes_done != found.st_size:
        raise UnfitFile(f"{path} is being written to; start again when it is whole")
    return UserFile(path, format_, columns, start, found.st_size, found.st_mtime_ns, digest.digest())


def _header(path: Path, line: bytes) -> list[str]:
    try:
        rows = list(rows_of(_text(line, lines_before=0)))
    except BrokenQuotes:
        raise UnfitFile(f"{path}: the first line is no header of CSV; {_WANTED}") from None
    except UnfitFile as unfit:
        raise UnfitFile(f"{path}: {unfit}; nothing was imported") from None
    if not rows:
        raise UnfitFile(f"{path} has no header; {_WANTED}")
    return rows[0][1]


_WANTED: Final = f"its first line has to name the columns, separated by commas, of {', '.join(FIELDS)}"


def _columns(header: Sequence[str], path: Path, ignored: frozenset[str]) -> tuple[str | None, ...]:
    known = [name for name in header if name in FIELDS and name not in ignored]
    if PLAIN_PASSWORD_FIELD in header and PLAIN_PASSWORD_FIELD not in ignored:
        raise UnfitFile(
            f"{path} has a column {PLAIN_PASSWORD_FIELD}, and plain passwords are not imported: put hashes of them into "
            f"password_hash, or leave the column unread with --ignore {PLAIN_PASSWORD_FIELD} if it has those beside it"
        )
    if not known:
        raise UnfitFile(f"{path} has no header; {_WANTED}")
    unknown = [
        f"{told_name(name)} (column {number})" for number, name in enumerate(header, 1) if name not in ignored | set(FIELDS)
    ]
    if unknown:
        raise UnfitFile(
            f"{path} has columns that are not known: {', '.join(unknown)}; rename or remove them, or leave them unread "
            "with --ignore NAME,NAME"
        )
    if len(known) != len(set(known)):
        raise UnfitFile(f"{path} names a column twice; leave one of the two")
    if not set(IDENTIFIER_FIELDS).intersection(known):
        raise UnfitFile(f"{path} has no column of {', '.join(IDENTIFIER_FIELDS)}: nobody could log in")
    if "password_hash" not in known and not set(KEYCLOAK_FIELDS) <= set(known):
        raise UnfitFile(
            f"{path} has no column password_hash, nor {' and '.join(KEYCLOAK_FIELDS)}: nobody could log in; "
            "`tidegate users export` writes it with --with-password-hashes"
        )
    return tuple(None if name in ignored else name for name in header)


def _text(content: bytes, *, lines_before: int) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = lines_before + content.count(b"\n", 0, error.start) + 1
        raise UnfitFile(f"line {line} is not UTF-8; convert it, such as with `iconv -f WINDOWS-1252 -t UTF-8`") from None


def _blocks(file: BinaryIO, format_: FileFormat, since: Point, block_bytes: int) -> Iterator[Block]:
    """Cut the rest of *file* into blocks of about so many bytes.

    Raises:
        UnfitFile: A line is too long, or where a record ends cannot be told.
    """
    point, rest = since, b""
    while True:
        read = file.read(block_bytes)
        content = rest + read
        if not content:
            return
        size = _whole_records(content, format_, point, is_end=not read)
        content, rest = content[:size], content[size:]
        if content:
            lines = content.count(b"\n") + (not content.endswith(b"\n"))
            end = Point(point.bytes_done + size, point.lines_done + lines)
            yield Block(point.lines_done + 1, end, content)
            point = end


def _whole_records(content: bytes, format_: FileFormat, point: Point, *, is_end: bool) -> int:
    """How many bytes of *content* are whole records."""
    size = len(content) if is_end else content.rfind(b"\n") + 1
    if size == 0 and len(content) > _LINE_BYTES_MAX:
        raise UnfitFile(f"line {point.lines_done + 1} is longer than {_LINE_BYTES_MAX} bytes")
    if format_ is FileFormat.JSON_LINES:
        return size
    lines = content[:size].split(b"\n")
    total = len(lines) - (not lines[-1])
    if _are_records(content[:size], lines):
        return size
    try:
        for _ in rows_of(_text(content[:size], lines_before=point.lines_done)):
            pass
    except BrokenQuotes as broken:
        if is_end or broken.lines_read < total:
            # Which lines are records and which are parts of a name cannot be told any more, and must not be guessed: who
            # chose the name would choose the records.
            raise UnfitFile(
                f"line {point.lines_done + broken.lines_before + 1} is no CSV (RFC 4180): a quotation mark that is not "
                "closed, something behind a closed one, a carriage return outside of them, or a field of over "
                f"{FIELD_CHARACTERS_MAX} characters; correct it"
            ) from None
        return sum(len(line) + 1 for line in lines[: broken.lines_before])
    return size


def _are_records(content: bytes, lines: Sequence[bytes]) -> bool:
    """Whether each of the lines of *content* is a record for sure, and nothing in them is what `rows_of` stumbles over."""
    return (
        b'"' not in content
        and content.count(b"\r") == content.count(b"\r\n")
        and max(map(len, lines)) <= FIELD_CHARACTERS_MAX
    )
