"""`tidegate import-process`: checks lines for the `tidegate users import` that started it; not for people."""

import argparse
import os
import sys
from typing import Final

from tidegate.cli.exits import DONE
from tidegate.wiring.checking import answer_checks

EXAMPLES = "  none: `tidegate users import` starts it\n"

_NICENESS: Final = 10
"""Who logs in on this machine comes first."""


def configure(_parser: argparse.ArgumentParser) -> None:
    """It takes no words: what to do comes through standard input."""


def run(_arguments: argparse.Namespace) -> int:
    """Check until the end of standard input."""
    os.nice(_NICENESS)
    answer_checks(sys.stdin.buffer, sys.stdout.buffer)
    return DONE
