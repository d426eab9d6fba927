"""However a file is cut into blocks, its records are those of the whole file, also from the middle on."""

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tidegate.bulk.files import Point, UnfitFile, UserFile, examine
from tidegate.bulk.records import FileFormat, csv_records, json_records

HEADER = "username,full_name,password_hash\n"
VALUES = st.text(st.sampled_from("ab\",\n\r\\ 'é🐎\x0b\u2028\x85"), max_size=12)
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12)
COLUMNS = ("username", "full_name", "password_hash")


def fit(path: Path, format_: FileFormat) -> UserFile:
    return examine(path, format_, ignored=frozenset(), on_progress=lambda share: None)


def records(file: UserFile, since: Point, block_bytes: int) -> list[tuple[int, object]]:
    found: list[tuple[int, object]] = []
    for block in file.blocks(since, block_bytes=block_bytes):
        text = block.content.decode()
        read = (
            csv_records(text, first_line=block.first_line, columns=COLUMNS)
            if file.format is FileFormat.CSV
            else json_records(text, first_line=block.first_line, ignored=frozenset())
        )
        found += [(line, fields if isinstance(fields, dict) else str(fields)) for line, fields in read]
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), block_bytes=st.integers(1, 60))
@example(rows=[("x\nevil,,hash\n", "", "h"), ("b", '"', "h")], quoting=csv.QUOTE_MINIMAL, block_bytes=3)
def test_blocks_of_csv_hold_the_records_of_the_file(
    rows: Sequence[tuple[str, str, str]], quoting: Literal[0, 1], block_bytes: int, tmp_path: Path
) -> None:
    """Whatever stands in a name, also what looks like the next record: else people could add others by their names."""
    if quoting == csv.QUOTE_MINIMAL:  # which leaves a carriage return without marks, as nobody else does
        rows = [(a.replace("\r", ""), b.replace("\r", ""), c.replace("\r", "")) for a, b, c in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows(rows)
    path = tmp_path / "users.csv"
    path.write_bytes((HEADER + text.getvalue()).encode())
    file = fit(path, FileFormat.CSV)
    whole = records(file, file.start, 1 << 20)
    assert [fields for _, fields in whole] == [
        {name: value for name, value in zip(COLUMNS, row, strict=True) if value} for row in rows
    ]
    assert records(file, file.start, block_bytes) == whole
    for block in file.blocks(file.start, block_bytes=block_bytes):
        rest = [each for each in whole if each[0] > block.end.lines_done]
        assert records(file, block.end, block_bytes) == rest
        assert path.read_bytes()[: block.end.bytes_done].count(b"\n") == block.end.lines_done


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUES)), block_bytes=st.integers(1, 60), ends=st.booleans())
def test_blocks_of_json_hold_the_records_of_the_file(
    rows: Sequence[dict[str, str]], block_bytes: int, ends: bool, tmp_path: Path
) -> None:
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + ("\n" if ends else "")
    path = tmp_path / "users.jsonl"
    path.write_bytes(text.encode())
    file = fit(path, FileFormat.JSON_LINES)
    expected = [(number, {k: v for k, v in row.items() if v}) for number, row in enumerate(rows, 1)]
    assert records(file, file.start, block_bytes) == expected


def cut(content: bytes) -> bytes:
    return HEADER.encode() + content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (cut(b'"a,b,c\n' + b"a,b,c\n" * 10), "line 2 is no CSV"),
        (cut(b'a,b,c\na,"b"x,c\n'), "line 3 is no CSV"),
        (cut(b'a,"' + b"x\n" * 20_000 + b'",c\n'), "line 2 is no CSV"),
        (cut(b"a,b,c\na,\xff,c\n"), "line 3 is not UTF-8"),
        (cut(b"a,b,c\na,\rb,c\n"), "line 3 is no CSV"),
        (cut(b"a,b,c\n" + b"a" * 20_000 + b",b,c\n"), "line 3 is no CSV"),
        (cut(b'"\xff",b,c\n'), "line 2 is not UTF-8"),
        (b"\xff\xfeu\0s\0", "line 1 is not UTF-8"),
        (cut(b"a" * 3_000_000), "line 2 is longer than"),
    ],
)
def test_what_cannot_be_cut_is_refused_before_anything_is_imported(content: bytes, told: str, tmp_path: Path) -> None:
    (path := tmp_path / "users.csv").write_bytes(content)
    with pytest.raises(UnfitFile, match=told):
        fit(path, FileFormat.CSV)


def appended(path: Path) -> None:
    with path.open("a") as file:
        file.write("d,e,f\n")


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [appended, touched])
def test_a_file_that_changes_while_it_is_read_is_noticed(change: Callable[[Path], None], tmp_path: Path) -> None:
    (path := tmp_path / "users.csv").write_bytes(cut(b"a,b,c\n" * 100))
    file = fit(path, FileFormat.CSV)
    blocks = file.blocks(file.start, block_bytes=30)
    next(blocks)
    change(path)
    with pytest.raises(UnfitFile, match="was written to while it was read"):
        next(blocks)


def test_the_same_file_has_the_same_digest_and_another_has_another(tmp_path: Path) -> None:
    contents = [cut(b"a,b,c\n"), cut(b"a,b,d\n"), cut(b"a,b,c"), b"\xef\xbb\xbf" + cut(b"a,b,c\n"), cut(b"")]
    found = []
    for number, content in enumerate([*contents, contents[0]]):
        (path := tmp_path / f"{number}.csv").write_bytes(content)
        found.append(fit(path, FileFormat.CSV).digest)
    assert len(set(found)) == len(contents)
    assert found[0] == found[-1]


def test_a_pipe_could_not_be_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    holder = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(UnfitFile, match="no regular file"):
            fit(path, FileFormat.CSV)
    finally:
        os.close(holder)
