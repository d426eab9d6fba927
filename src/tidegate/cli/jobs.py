"""`tidegate jobs`: what waits to be done after answers, what failed too often, and how it is tried again."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tidegate.cli.exits import DONE, REFUSED, CommandFailed
from tidegate.cli.options import add_data_dir, read_settings
from tidegate.config import Settings
from tidegate.wiring.administration import ListedJob, open_job_administration

EXAMPLES = """\
  tidegate jobs stats                  how many wait, have failed or are dead, and how old the oldest is
  tidegate jobs list                   the dead, then those that failed and are tried again, then the others
  tidegate jobs list --dead --json     for a program
  tidegate jobs show 1234              everything about one
  tidegate jobs retry 1234             try it again now; --all: everything that is dead or has failed

A job is a row, written by whatever causes it: a login, a registration, a change of password, a revocation. A worker
(`tidegate worker`) does it once. What fails is tried again after 1 s, 2 s, 4 s and so on; what fails too often is dead:
it holds up nobody and waits for you. Its error names a class, such as SMTPRecipientsRefused; correct the cause, then retry.
Unfinished: the worker died in the middle of it (see its log, and the kernel's for a lack of memory), or the database cut it
off, each time that it was tried.
"""

_LISTED_MAX = 1_000
_ID_MAX = 2**63 - 1
"""Of a bigint."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take `list`, `show`, `retry` or `stats`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the dead first, then those that have failed, then the others")
    listing.add_argument("--dead", action="store_true", help="only those that failed too often")
    listing.add_argument(
        "--limit", type=_number(_LISTED_MAX), default=50, metavar="N", help=f"at most N, up to {_LISTED_MAX}; 50"
    )
    showing = actions.add_parser("show", help="everything about one job")
    showing.add_argument("job", type=_number(_ID_MAX), metavar="ID", help="as `jobs list` names it")
    retrying = actions.add_parser("retry", help="let the dead, or what waits after a failure, be tried again now")
    which = retrying.add_mutually_exclusive_group(required=True)
    which.add_argument("job", type=_number(_ID_MAX), metavar="ID", nargs="?", help="as `jobs list` names it")
    which.add_argument("--all", action="store_true", help="every one")
    counting = actions.add_parser("stats", help="how many of each kind wait, have failed or are dead")
    for each in (listing, showing, retrying, counting):
        each.add_argument("--json", action="store_true", help="for a program")
        add_data_dir(each)


def _number(highest: int) -> Callable[[str], int]:
    """Read a number from 1 to *highest*."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(highest)) and 1 <= int(text) <= highest):
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {highest}")
        return int(text)

    return read


def run(arguments: argparse.Namespace) -> int:
    """Do one of the four."""
    asyncio.run(_act(read_settings(arguments, falls_back=True), arguments))
    return DONE


async def _act(settings: Settings, arguments: argparse.Namespace) -> None:
    async with open_job_administration(settings) as jobs:
        match arguments.action:
            case "list":
                listed = await jobs.listed(None, at_most=arguments.limit + 1)
                found = [job for job in listed if job.died_at is not None or not arguments.dead]
                shown = [_row(job) for job in found[: arguments.limit]]
                _print(shown, is_json=arguments.json, nothing="no dead jobs" if arguments.dead else "no jobs")
                if len(found) > len(shown):
                    print("there are more: --limit, or `tidegate jobs stats`", file=sys.stderr)
            case "show":
                found = await jobs.listed(arguments.job, at_most=1)
                if not found:
                    raise CommandFailed(REFUSED, f"there is no job {arguments.job}; it is done, or never was")
                _show(found[0], is_json=arguments.json)
            case "retry":
                retried = await jobs.retry(arguments.job)
                if arguments.job is not None and not retried:
                    raise CommandFailed(REFUSED, f"job {arguments.job} is neither dead nor has it failed; see `jobs list`")
                print(json.dumps(retried) if arguments.json else f"{len(retried)} to be tried again")
            case "stats":
                stats = [asdict(each) for each in await jobs.stats()]
                _print(stats, is_json=arguments.json, nothing="no jobs")


def _row(job: ListedJob) -> dict[str, Any]:
    return {
        "job": job.job_id,
        "state": "dead" if job.died_at is not None else "failing" if job.error else "waiting",
        "kind": job.kind,
        "user": str(job.user_id),
        "put": job.created_at.isoformat(timespec="seconds"),
        "tries": job.tries,
        "error": job.error,
    }


def _show(job: ListedJob, *, is_json: bool) -> None:
    details = {
        "due": None if job.due_at is None else job.due_at.isoformat(timespec="seconds"),
        "died": None if job.died_at is None else job.died_at.isoformat(timespec="seconds"),
        "detail": None if job.detail is None else json.loads(job.detail),
    }
    whole = _row(job) | details
    if is_json:
        print(json.dumps(whole))
    else:
        for name, value in whole.items():
            if value is not None:
                print(f"{name}: {value}")


def _print(rows: Sequence[dict[str, Any]], *, is_json: bool, nothing: str) -> None:
    """One line a row under a line of names; or one JSON array."""
    if is_json:
        print(json.dumps(rows))
    elif not rows:
        print(nothing, file=sys.stderr)
    else:
        texts = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        for line in texts:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
