"""`tidegate users export`: everybody as they are at one moment, in the form that `users import` reads."""

import argparse
import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tidegate.cli.exits import CANNOT_CREATE, DONE, CommandFailed
from tidegate.cli.options import add_data_dir
from tidegate.config import Settings
from tidegate.migrations.runner import Runner
from tidegate.wiring.bulk import SUFFIXES, FileFormat, export

_DESCRIPTION: Final = """\
Write all users as they are at one moment, as CSV with a header or as one JSON object a line, to FILE or to standard output.
FILE is made for its owner alone (mode 0600) and appears when it is whole; one that is there already is left as it is.

Without password hashes nobody can be imported again from it. --with-password-hashes adds them, `!` before those of disabled
users: who has such a file can try passwords against it at leisure, on as many machines as they like. Keep it encrypted,
move it by no mail, and remove it once it has served.
"""


def configure(actions: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add `export`."""
    parser = actions.add_parser(
        "export",
        help="write all users to a file, without password hashes unless asked for",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="none: standard output")
    parser.add_argument(
        "--format", choices=[each.value for each in FileFormat], help="by default what FILE's name says, or csv"
    )
    parser.add_argument(
        "--with-password-hashes", action="store_true", help="add them; keep such a file as you keep passwords"
    )
    add_data_dir(parser)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write them."""
    path: Path | None = arguments.file
    by_name = FileFormat.CSV if path is None else SUFFIXES.get(path.suffix.lower(), FileFormat.CSV)
    file_format = by_name if arguments.format is None else FileFormat(arguments.format)
    if path is None:
        count = _write(settings, sys.stdout.fileno(), file_format, with_hashes=arguments.with_password_hashes)
    else:
        count = _write_file(settings, path, file_format, with_hashes=arguments.with_password_hashes)
    print(f"tidegate: exported {count:,} users", file=sys.stderr)
    if arguments.with_password_hashes:
        print(
            "tidegate: their password hashes are in it: keep it encrypted, and remove it once it has served",
            file=sys.stderr,
        )
    return DONE


class _ReaderGone(Exception):  # noqa: N818 - it names what is the case, as the errors of the domain do
    """Whoever read our output has seen enough."""


def _write_file(settings: Settings, path: Path, file_format: FileFormat, *, with_hashes: bool) -> int:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists():
            raise CommandFailed(CANNOT_CREATE, f"{path} is there already; remove it, or name another")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            count = _write(settings, descriptor, file_format, with_hashes=with_hashes)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(path)
    except OSError as error:
        raise _unwritable(error) from None
    finally:
        with suppress(OSError):
            part.unlink()
    return count


def _write(settings: Settings, descriptor: int, file_format: FileFormat, *, with_hashes: bool) -> int:
    async def take(piece: bytes) -> None:
        left = memoryview(piece)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except BrokenPipeError:
            raise _ReaderGone from None
        except OSError as error:  # ours, and none of the database's
            raise _unwritable(error) from None

    asyncio.run(Runner(settings.primary_dsn).check())
    try:
        return asyncio.run(export(settings, take, file_format=file_format, with_hashes=with_hashes))
    except _ReaderGone:
        raise BrokenPipeError from None


def _unwritable(error: OSError) -> CommandFailed:
    return CommandFailed(CANNOT_CREATE, f"the export cannot be written: {error.strerror}; nothing of it is kept")
