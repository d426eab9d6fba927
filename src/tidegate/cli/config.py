"""`tidegate config`: are the settings right, and what are they?"""

import argparse

from tidegate.cli.exits import DONE
from tidegate.cli.options import add_data_dir, read_given
from tidegate.config import declared
from tidegate.settings_building import build_settings
from tidegate.settings_pages import as_example, as_markdown, as_text

EXAMPLES = """\
  tidegate config check                would `tidegate api` start here? Says what is set, and where
  tidegate config list                 every setting
  tidegate config list --example       a .env file to fill in
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take `check` or `list`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="read all settings as a start would, and tell what is wrong with them")
    add_data_dir(check)
    listing = actions.add_parser("list", help="tell every setting with default, unit and meaning")
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="as docs/SETTINGS.md")
    form.add_argument("--example", action="store_true", help="as .env.example")


def run(arguments: argparse.Namespace) -> int:
    """Check or list."""
    if arguments.action == "list":
        page = as_markdown() if arguments.markdown else as_example() if arguments.example else as_text()
        print(page, end="")
        return DONE
    given = read_given(arguments, falls_back=True)
    build_settings(given.texts)
    secrets = {each.variable for each in declared() if each.meaning.is_secret}
    for name in sorted(given.texts):
        shown = "(secret)" if name in secrets else given.texts[name]
        print(f"{name}={shown}    from {given.sources[name]}")
    print("These settings are right; all others have their defaults.")
    return DONE
