"""`tidegate worker`: does what logins leave behind, until it is told to stop."""

import argparse
import asyncio
import contextlib

import uvloop
from prometheus_client import start_http_server

from tidegate.cli.api import listen
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
    with contextlib.ExitStack() as opened:
        if settings.worker_metrics_port:
            listen(settings.metrics_host, settings.worker_metrics_port, "TIDEGATE_WORKER_METRICS_PORT").close()
            server, thread = start_http_server(settings.worker_metrics_port, settings.metrics_host)
            opened.callback(thread.join)
            opened.callback(server.server_close)
            opened.callback(server.shutdown)
        uvloop.run(run_worker(settings))
    return DONE
