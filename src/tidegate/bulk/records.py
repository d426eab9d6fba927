"""Takes the records out of a piece of a file: CSV as in RFC 4180, or one JSON object a line."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.domain.user_imports import told_name

FIELD_CHARACTERS_MAX: Final = 16_384
"""Keycloak's credentials are the longest that may stand; a quotation mark that is never closed ends here."""


class FileFormat(StrEnum):
    """How the records of a file are written."""

    CSV = "csv"
    JSON_LINES = "jsonl"


Record = tuple[int, Mapping[str, str] | InvalidRequest]
"""The line on which it begins, from 1, and its fields as far as it has some, or what is wrong with it."""


class BrokenQuotes(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """Where a record ends cannot be told.

    Attributes:
        lines_before: How many lines of the text were well.
        lines_read: How many had been read when it was noticed.
    """

    def __init__(self, lines_before: int, lines_read: int) -> None:
        super().__init__(lines_before, lines_read)
        self.lines_before = lines_before
        self.lines_read = lines_read


def rows_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of CSV, each with the number of lines of *text* up to its end. Only a line feed ends a line.

    Raises:
        BrokenQuotes: After those that are well: a quotation mark is not closed, something stands behind a closed one, a
            carriage return stands outside of them, or a field is too long.
    """
    csv.field_size_limit(FIELD_CHARACTERS_MAX)
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    ended = 0
    try:
        for row in reader:
            ended = reader.line_num
            yield ended, row
    except csv.Error:
        raise BrokenQuotes(ended, reader.line_num) from None


def csv_records(text: str, *, first_line: int, columns: Sequence[str | None]) -> Iterator[Record]:
    """The records of a piece of CSV that begins and ends with a record.

    Args:
        text: The piece.
        first_line: Its number in the file.
        columns: What the fields of a row are called; None: not to be read.

    Raises:
        BrokenQuotes: It does not.
    """
    line, before = first_line, 0
    for ended, row in rows_of(text):
        line, before = first_line + before, ended
        if len(row) == len(columns):
            yield line, {name: value for name, value in zip(columns, row, strict=True) if value and name is not None}
        elif row:  # an empty line is none
            yield line, _fault("line", "too_many_fields" if len(row) > len(columns) else "too_few_fields")


def json_records(text: str, *, first_line: int, ignored: frozenset[str]) -> Iterator[Record]:
    """The records of some lines of JSON.

    Args:
        text: The lines.
        first_line: The number of the first of them in the file.
        ignored: Keys that are not to be read.
    """
    for number, line in enumerate(text.split("\n"), first_line):
        if line and not line.isspace():
            yield number, _json_record(line, ignored)


def _json_record(line: str, ignored: frozenset[str]) -> Mapping[str, str] | InvalidRequest:
    try:
        found = json.loads(line, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return _fault("line", "not_json")
    if not isinstance(found, _Pairs):
        return _fault("line", "not_an_object")
    fields: dict[str, str] = {}
    faults = []
    for name, value in found:
        if name in ignored or value is None or value == "":
            continue
        if not isinstance(value, str):
            faults.append(FieldFault(told_name(name), "not_text"))
        elif name in fields:
            faults.append(FieldFault(told_name(name), "given_twice"))
        else:
            fields[name] = value
    return InvalidRequest(*faults) if faults else fields


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON with all its keys, also those that are given twice."""


def _fault(field: str, reason: str) -> InvalidRequest:
    return InvalidRequest(FieldFault(field, reason))
