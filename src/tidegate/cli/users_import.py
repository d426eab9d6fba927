"""`tidegate users import`: many users at once, with the password hashes that they have (ADR 0029)."""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tidegate.cli.exits import (
    CANNOT_CREATE,
    DONE,
    IN_USE,
    REFUSED,
    UNAVAILABLE,
    UNREADABLE_FILE,
    WRONG_WORDS,
    CommandFailed,
)
from tidegate.cli.options import add_data_dir
from tidegate.cli.progress import Progress, ProgressBar
from tidegate.config import Settings
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.user_imports import FIELDS, ImportProgress, RefusedLine
from tidegate.migrations.runner import Runner
from tidegate.settings_node import usable_cores
from tidegate.wiring.bulk import (
    SUFFIXES,
    BatchLost,
    CheckerEnded,
    FileFormat,
    ForeignFile,
    ImportElsewhere,
    ImportOrder,
    UnfitFile,
    UnwritableRefusals,
    UserFile,
    examine,
    import_file,
)

_BATCH_KIB: Final = 2_048
"""Some ten thousand users, a third of a second. Who registers one of their names meanwhile waits for its end."""
_BATCH_KIB_MAX: Final = 16_384
_PROCESSES_MAX: Final = 8
"""More check faster than one connection of PostgreSQL takes."""

_REASONS_TOLD_MAX: Final = 10
_LINES_TOLD_MAX: Final = 10

_DESCRIPTION: Final = f"""\
Add the users of FILE: CSV with a header, or one JSON object a line. Fields, by their names:

  {", ".join(FIELDS)}

At least one of username, email and phone_number, and password_hash, which is any that a login verifies: PHC strings of
Argon2, bcrypt, scrypt and PBKDF2 as passlib and Django write them; for Keycloak credential_data and secret_data. After the
first login it is of the current profile. birthdate is YYYY-MM-DD, last_login ISO 8601 in UTC or with an offset. Plain
passwords are not imported: a million of them would be hours of hashing, and no file should hold any.

Lines that cannot be added are refused one by one, and FILE.refused.jsonl says which and why. An import that was
interrupted or killed goes on where it was when the same command is given again; one that is done does nothing again.
Nodes may serve meanwhile. docs/MOVING.md says what becomes of the exports of Keycloak, Django and Supabase.
"""


def configure(actions: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add `import`."""
    parser = actions.add_parser(
        "import",
        help="add the users of a file, with the hashes that they have",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help=f"{', '.join(SUFFIXES)}, or name its --format")
    parser.add_argument("--format", choices=[each.value for each in FileFormat], help="what FILE is, whatever its name")
    parser.add_argument("--ignore", metavar="NAME,NAME", default="", help="fields of FILE that are not to be read")
    parser.add_argument("--dry-run", action="store_true", help="check everything, also against the database; add nobody")
    parser.add_argument(
        "--refused",
        metavar="FILE",
        type=Path,
        help="where to list refused lines; with --dry-run they are shown if not given",
    )
    parser.add_argument("--anew", action="store_true", help="begin with the first line, although FILE was imported before")
    parser.add_argument("--processes", metavar="N", type=int, help="how many check lines; one a core, 8 at most")
    parser.add_argument(
        "--batch-kib", metavar="N", type=int, default=_BATCH_KIB, help=f"how much of FILE is one transaction; {_BATCH_KIB}"
    )
    add_data_dir(parser)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Import, and return whether everybody was added."""
    path: Path = arguments.file
    ignored = frozenset(name for name in arguments.ignore.split(",") if name)
    if arguments.processes is not None and not 1 <= arguments.processes <= _PROCESSES_MAX:
        raise CommandFailed(WRONG_WORDS, f"--processes is a number from 1 to {_PROCESSES_MAX}")
    if not 1 <= arguments.batch_kib <= _BATCH_KIB_MAX:
        raise CommandFailed(WRONG_WORDS, f"--batch-kib is a number from 1 to {_BATCH_KIB_MAX}")
    refusals: Path | None = arguments.refused
    if refusals is None and not arguments.dry_run:
        refusals = path.with_name(f"{path.name}.refused.jsonl")
    if refusals is not None and refusals.resolve() == path.resolve():
        raise CommandFailed(WRONG_WORDS, "--refused names the file that is to be imported; name another")
    run = _Run(path, refusals, shows_lines=refusals is None)
    with _troubles(run):
        asyncio.run(Runner(settings.primary_dsn).check())
        file = run.examined(_format(arguments), ignored)
        with ProgressBar(f"{'checking' if arguments.dry_run else 'importing'} {path}") as bar:
            run.begin(bar, file)
            order = ImportOrder(
                file=file,
                ignored=ignored,
                processes=arguments.processes or _processes(file.size, arguments.batch_kib * 1024),
                refusals=refusals,
                is_rehearsed=arguments.dry_run,
                is_anew=arguments.anew,
                block_bytes=arguments.batch_kib * 1024,
                on_progress=run.advance,
                on_refused=run.refuse,
            )
            progress = asyncio.run(import_file(settings, order))
    if progress.ended_at is not None:
        print(
            f"{path} was imported before, on {progress.ended_at:%Y-%m-%d %H:%M} UTC: {_counted(progress)}. Nothing was "
            "done; --anew begins with its first line again."
        )
    else:
        run.summarise(progress, is_rehearsed=arguments.dry_run)
    return REFUSED if progress.refused else DONE


def _processes(size: int, block_bytes: int) -> int:
    """No more than have something to do: each takes half a second to begin."""
    return min(_PROCESSES_MAX, usable_cores(), 1 + size // block_bytes)


def _format(arguments: argparse.Namespace) -> FileFormat:
    if arguments.format is not None:
        return FileFormat(arguments.format)
    found = SUFFIXES.get(arguments.file.suffix.lower())
    if found is None:
        raise CommandFailed(WRONG_WORDS, f"{arguments.file} ends in none of {', '.join(SUFFIXES)}; name its --format")
    return found


class _Run:
    """What is told of one import while it goes on and at its end."""

    def __init__(self, path: Path, refusals: Path | None, *, shows_lines: bool) -> None:
        self._path = path
        self._refusals = refusals
        self._shows_lines = shows_lines
        self._shown: list[RefusedLine] = []
        self._reasons: Counter[str] = Counter()
        self._size = 0
        self._here = 0
        self._began_s = time.monotonic()
        self.lines_done = 0

    def examined(self, file_format: FileFormat, ignored: frozenset[str]) -> UserFile:
        """Read the file once."""
        with Progress(f"reading {self._path}") as progress:
            return examine(self._path, file_format, ignored=ignored, on_progress=progress.show)

    def begin(self, bar: ProgressBar, file: UserFile) -> None:
        """Show progress on *bar* from now on."""
        self._bar = bar
        self._size = file.size
        self._began_s = time.monotonic()
        self._before: ImportProgress | None = None

    def advance(self, progress: ImportProgress) -> None:
        """Show how far it is."""
        self.lines_done = progress.lines_done
        done = progress.added + progress.refused
        elapsed_s = time.monotonic() - self._began_s
        if self._before is None:
            self._before = progress
        self._bar.show(
            progress.bytes_done / self._size,
            f"{done:,} users, {progress.refused:,} refused, {elapsed_s:.0f} s",
        )

    def refuse(self, line: RefusedLine) -> None:
        """Count the reasons."""
        self._here += 1
        self._reasons.update(str(fault) for fault in line.faults)
        if self._shows_lines and len(self._shown) < _LINES_TOLD_MAX:
            self._shown.append(line)

    def summarise(self, progress: ImportProgress, *, is_rehearsed: bool) -> None:
        """Say what became of the file."""
        elapsed_s = time.monotonic() - self._began_s
        print(f"{'would have ' if is_rehearsed else ''}{_counted(progress)}; {elapsed_s:.1f} s")
        for reason, count in self._reasons.most_common(_REASONS_TOLD_MAX):
            print(f"  {count:,} {reason}")
        for line in self._shown:
            print(f"  line {line.line}: {', '.join(map(str, line.faults))}")
        if progress.refused and self._refusals is not None:
            print(f"the refused lines are listed in {self._refusals}")
            if self._here < progress.refused:
                print(f"  {progress.refused - self._here:,} of them by an earlier run")


def _counted(progress: ImportProgress) -> str:
    return f"added {progress.added:,} users, refused {progress.refused:,} lines"


@contextmanager
def _troubles(run: _Run) -> Iterator[None]:
    """Say what to do next, whatever stopped it."""
    try:
        yield
    except UnfitFile as unfit:
        raise CommandFailed(REFUSED, str(unfit)) from None
    except ForeignFile:
        raise CommandFailed(
            CANNOT_CREATE,
            "where refused lines are to be listed lies another file; remove it, or name another with --refused",
        ) from None
    except UnwritableRefusals as unwritable:
        raise CommandFailed(CANNOT_CREATE, f"refused lines cannot be listed ({unwritable}); {_GO_ON}") from None
    except ImportElsewhere:
        raise CommandFailed(IN_USE, "another process is importing this file; wait for its end") from None
    except BatchLost:
        raise CommandFailed(UNAVAILABLE, f"others kept adding the same names; {_GO_ON}") from None
    except CheckerEnded:
        raise CommandFailed(UNAVAILABLE, f"a process that checks lines has ended (is memory short?); {_GO_ON}") from None
    except DatabaseUnavailable:
        if not run.lines_done:
            raise
        raise CommandFailed(
            UNAVAILABLE, f"the database went away after line {run.lines_done:,}, and what was done stands; {_GO_ON}"
        ) from None
    except OSError as error:
        is_of_list = error.filename is not None and str(error.filename).endswith(".refused.jsonl")
        raise CommandFailed(
            CANNOT_CREATE if is_of_list else UNREADABLE_FILE,
            f"{error.filename} cannot be {'written' if is_of_list else 'read'}: {error.strerror}",
        ) from None
    except KeyboardInterrupt:
        print(f"tidegate: interrupted after line {run.lines_done:,}; {_GO_ON}", file=sys.stderr)
        raise


_GO_ON: Final = "give the same command again, and it goes on where it was"
