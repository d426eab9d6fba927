"""`tidegate migrate`: the schema, up and down."""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from tidegate import migrations
from tidegate.cli.exits import DONE
from tidegate.cli.options import add_data_dir, read_dsn, read_given
from tidegate.migrations.folder import Migration, new_migration
from tidegate.migrations.runner import Runner

EXAMPLES = """\
  tidegate migrate status              what the database has had, and what it lacks
  tidegate migrate up                  apply what is missing; safe while other nodes do the same
  tidegate migrate down                take the last one back
  tidegate migrate new pre_add_x       begin a migration that the running release survives
"""

VERSIONS = Path(migrations.__file__).parent / "versions"


def configure(parser: argparse.ArgumentParser) -> None:
    """Take `up`, `down`, `status` or `new`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    up = actions.add_parser("up", help="apply the migrations that the database lacks")
    up.add_argument("--to", metavar="VERSION", help="up to and including this one; default: all")
    down = actions.add_parser("down", help="take back the last migrations; what is in their tables is lost")
    down.add_argument("steps", type=_steps, nargs="?", default=1, metavar="N", help="how many, or `all`; default: 1")
    status = actions.add_parser("status", help="list the migrations and when the database had them")
    for each in (up, down, status):
        add_data_dir(each)
    new = actions.add_parser("new", help="make the next migration's file, with its header to fill in")
    new.add_argument("name", help="begins with pre_ (the running release survives it) or post_ (it must be gone)")


def _steps(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor `all`")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Do one of the four."""
    if arguments.action == "new":
        print(new_migration(VERSIONS, arguments.name))
        return DONE
    runner = Runner(read_dsn(read_given(arguments, falls_back=True)))
    if arguments.action == "up":
        _print_done("applied", asyncio.run(runner.up(arguments.to)), nothing="The database lacks no migration.")
    elif arguments.action == "down":
        _print_done("took back", asyncio.run(runner.down(arguments.steps)), nothing="The database has had no migration.")
    else:
        for status in asyncio.run(runner.status()):
            when = f"applied {status.applied_at:%Y-%m-%d %H:%M:%S} UTC" if status.applied_at else "missing"
            print(f"{status.version} {status.name}    {when}{'' if status.is_known else ', unknown to this program'}")
    return DONE


def _print_done(verb: str, done: Sequence[Migration], *, nothing: str) -> None:
    for migration in done:
        print(f"{verb} {migration.version} {migration.name}")
    if not done:
        print(nothing)
