"""Files of users for imports, and what became of them."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CHEAP_HASH = "$argon2id$v=19$m=64,t=3,p=1$MDEyMzQ1Njc4OWFiY2RlZg$wqcmLJ+FF9tc5RmEhKy4yZ4QOyOWwW1NHwlgNJsD4Uw"
"""Of `CHEAP_PASSWORD`; of tests/data/passwords."""
CHEAP_PASSWORD = "lètmein"


def csv_of(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def json_lines_of(rows: Iterable[object]) -> str:
    """One value a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def refused_in(path: Path) -> list[tuple[int, str]]:
    """The lines that a list of refused lines tells of, each with its faults."""
    found: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    return [(each["line"], " ".join(f"{fault['field']}={fault['reason']}" for fault in each["faults"])) for each in found]
