"""`tidegate version`."""

import argparse
import platform

from tidegate import __version__
from tidegate.cli.exits import DONE

EXAMPLES = "  tidegate version\n"


def configure(_parser: argparse.ArgumentParser) -> None:
    """Take no words."""


def run(_arguments: argparse.Namespace) -> int:
    """Print it, with the Python under it."""
    print(f"tidegate {__version__} (Python {platform.python_version()})")
    return DONE
