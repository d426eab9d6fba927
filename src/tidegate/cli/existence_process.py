"""`tidegate existence-process`: keeps the existence filter of the node whose `tidegate api` started it; not for people."""

import argparse
import os

import uvloop

from tidegate.cli.exits import DONE
from tidegate.settings_building import build_settings
from tidegate.wiring.existence import run_keeper

EXAMPLES = "  none: `tidegate api` starts it\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the number of the memory that was handed down."""
    parser.add_argument("memory", type=int)


def run(arguments: argparse.Namespace) -> int:
    """Keep it until SIGTERM."""
    uvloop.run(run_keeper(build_settings(os.environ), arguments.memory))
    return DONE
