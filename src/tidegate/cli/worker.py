"""`tidegate worker`: does what logins leave behind, until it is told to stop."""

import argparse
import asyncio

import uvloop

from tidegate.cli.exits import DONE
from tidegate.cli.options import add_data_dir, read_settings
from tidegate.migrations.runner import Runner
from tidegate.wiring.working import run_worker

EXAMPLES = """\
  tidegate worker                      as many as you like beside each other; one is enough for long
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Take no words but where the settings are."""
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Work until SIGTERM or SIGINT."""
    settings = read_settings(arguments, falls_back=False)
    asyncio.run(Runner(settings.primary_dsn).check())
    uvloop.run(run_worker(settings))
    return DONE
