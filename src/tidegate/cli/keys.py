"""`tidegate keys`: which keys sign access tokens, and the next one."""

import argparse
from collections.abc import Iterable
from datetime import UTC, datetime

from tidegate.cli.exits import DONE
from tidegate.cli.options import add_data_dir, read_settings
from tidegate.tokens.keys import create_key_file, list_keys, rotate
from tidegate.tokens.keyset import ListedKey
from tidegate.wiring.parts import rotation_keep_s, rotation_lead_s

EXAMPLES = """\
  tidegate keys list                   which key signs, which waits, which retires
  tidegate keys rotate                 publish a new key now, sign with it when every cache has it
  tidegate keys rotate --at-once       a key was stolen: the new one signs now, all access tokens end
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take `list` or `rotate`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the keys of TIDEGATE_SIGNING_KEYS_FILE")
    rotating = actions.add_parser("rotate", help="add a key to the file, or make the file where there is none")
    rotating.add_argument(
        "--at-once",
        action="store_true",
        help="sign with it now and drop all others: every access token ends, clients refresh",
    )
    for each in (listing, rotating):
        add_data_dir(each)


def run(arguments: argparse.Namespace) -> int:
    """List or rotate."""
    settings = read_settings(arguments, falls_back=True)
    path = settings.signing_keys_file
    if arguments.action == "list" or create_key_file(path):
        _print_keys(list_keys(path))
    elif arguments.at_once:
        _print_keys(rotate(path, lead_s=0, keep_s=0))
    else:
        _print_keys(rotate(path, lead_s=rotation_lead_s(settings), keep_s=rotation_keep_s(settings)))
    return DONE


def _print_keys(keys: Iterable[ListedKey]) -> None:
    for key in keys:
        until = f" until {_moment(key.until)}" if key.until else ""
        print(f"{key.kid}  {key.state} since {_moment(key.since)}{until}")


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
