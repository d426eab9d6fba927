"""Reads the SQL that lies beside this module, so that SQL stays SQL and Python names it."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)


@cache
def statements() -> Mapping[str, str]:
    """Every statement of sql/*.sql by its name, without the comments."""
    found: dict[str, str] = {}
    for file in sorted(files(__package__).joinpath("sql").iterdir(), key=lambda file: file.name):
        for name, text in split(file.read_text("utf-8")):
            if name in found:
                raise ValueError(f"two statements are named {name}")
            found[name] = text
    return MappingProxyType(found)


def split(text: str) -> list[tuple[str, str]]:
    """Return the statements of one file, each with the name that its ``-- name:`` line gives it.

    Args:
        text: Comments stand on lines of their own; what stands before the first name belongs to no statement.
    """
    _, *pieces = _HEADER.split(text)
    return [(name, _COMMENT.sub("", body).strip()) for name, body in zip(pieces[::2], pieces[1::2], strict=True)]
