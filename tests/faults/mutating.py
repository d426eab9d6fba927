"""Builds in which one guard is removed: a patch of tests/faults/mutations, applied to a copy of the package.

A patch begins with its head, lines of `Name: text`: `Guard` is what is removed, `Checker` which checker must see it,
`Also`, if it is there, which other may see it in a run in which the same guard breaks its promise as well,
`Faults` under which faults, `Hold`, if it is there, for how many seconds each, `Cap` that it shows in a campaign of so many
coupons, `Sql` what removes the part of the guard that the tables hold. Its lines are found by their text, wherever they
stand, so a patch lives as long as the lines that it is about.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MUTATIONS: Final = Path(__file__).parent / "mutations"
_SOURCE: Final = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Hunk:
    """Lines of a file, and what stands there instead."""

    file: str
    before: str
    after: str


@dataclass(frozen=True)
class Mutation:
    """One guard that can be removed.

    Attributes:
        checker: The one that must see it, alone.
        also: But for these: whether they see it is a matter of chance.
        faults: Under which.
        hold_s: For how long each; None: as chance has it.
        cap: Of the campaign in whose run it shows; None: in a run without one.
        statements: What removes as much of it as the database holds itself.
    """

    name: str
    guard: str
    checker: str
    also: frozenset[str]
    faults: tuple[str, ...]
    hold_s: float | None
    cap: int | None
    statements: tuple[str, ...]
    hunks: tuple[Hunk, ...]


def mutations() -> list[Mutation]:
    """All of them, by name."""
    return [_read(path) for path in sorted(MUTATIONS.glob("*.patch"))]


def _read(path: Path) -> Mutation:
    head, _, body = path.read_text("utf-8").partition("\n\n")
    told = dict(line.split(": ", 1) for line in head.splitlines())
    return Mutation(
        name=path.stem,
        guard=told["Guard"],
        checker=told["Checker"],
        also=frozenset(filter(None, [told.get("Also")])),
        faults=tuple(name.strip() for name in told["Faults"].split(",")),
        hold_s=float(told["Hold"]) if "Hold" in told else None,
        cap=int(told["Cap"]) if "Cap" in told else None,
        statements=tuple(statement.strip() for statement in told.get("Sql", "").split(";") if statement.strip()),
        hunks=tuple(_hunks(body.splitlines())),
    )


def _hunks(lines: Sequence[str]) -> list[Hunk]:
    """The hunks of a unified diff."""
    found: list[Hunk] = []
    file = ""
    before: list[str] = []
    after: list[str] = []

    def close() -> None:
        if before or after:
            found.append(Hunk(file, "\n".join(before) + "\n", "\n".join(after) + "\n"))
        before.clear()
        after.clear()

    for line in lines:
        if line.startswith("--- "):
            continue
        if line.startswith("+++ "):
            close()
            file = line.removeprefix("+++ b/")
        elif line.startswith("@@"):
            close()
        elif line.startswith("-"):
            before.append(line[1:])
        elif line.startswith("+"):
            after.append(line[1:])
        else:
            before.append(line[1:])
            after.append(line[1:])
    close()
    return found


def mutated(mutation: Mutation, folder: Path) -> Path:
    """A copy of the package in *folder*, without the guard of *mutation*; where to import it from.

    Raises:
        AssertionError: The lines that it is about are not there, or not once: it is out of date.
    """
    root = folder / "src"
    shutil.copytree(_SOURCE / "tidegate", root / "tidegate", ignore=shutil.ignore_patterns("__pycache__"))
    for hunk in mutation.hunks:
        path = folder / hunk.file
        text = path.read_text("utf-8")
        assert text.count(hunk.before) == 1, f"{mutation.name}: {hunk.file} has changed; write the patch anew"
        path.write_text(text.replace(hunk.before, hunk.after), "utf-8")
    return root
