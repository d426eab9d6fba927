"""Finds what the tidy tests read: the files of a clone, without what tools and people put beside them."""

import ast
import fnmatch
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "src" / "tidegate"

_OF_OTHERS: Final = ("ext/argon2/", "tests/data/", "src/tidegate/passwords/common_passwords.txt", "LICENSE")
"""Texts that we carry unchanged: our rules are not theirs."""


@cache
def repository_files() -> tuple[str, ...]:
    """Every file of the repository, relative to its root, with slashes.

    By walking and .gitignore, not by asking git: an unpacked archive, or a clone of another user's, has none to ask.
    """
    lines = text_of(".gitignore").split()
    ignored = [".git", ".venv.lock", *(line.rstrip("/") for line in lines)]
    return tuple(sorted(_walk(ROOT, ignored)))


def _walk(folder: Path, ignored: list[str]) -> Iterator[str]:
    for entry in os.scandir(folder):
        if any(fnmatch.fnmatch(entry.name, pattern) for pattern in ignored):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), ignored)
        else:
            yield Path(entry.path).relative_to(ROOT).as_posix()


def text_of(name: str) -> str:
    """The text of one file; in UTF-8, whatever the locale says."""
    return (ROOT / name).read_text("utf-8")


def our_texts(*suffixes: str) -> Iterator[tuple[str, str]]:
    """The name and text of each file that we wrote, of those that end in one of *suffixes* if any is given."""
    for name in repository_files():
        if name.startswith(_OF_OTHERS) or (suffixes and not name.endswith(suffixes)):
            continue
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:
            yield name, content.decode("utf-8")


@cache
def module_trees() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name under `tidegate`; the package itself is ``""``."""
    trees = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        trees[".".join(parts).removesuffix("__init__").rstrip(".")] = ast.parse(path.read_text("utf-8"))
    return trees
