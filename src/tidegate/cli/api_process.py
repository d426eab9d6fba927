"""`tidegate api-process`: one of the processes that `tidegate api` starts; not for people."""

import argparse
import os
import socket

import uvloop

from tidegate.cli.exits import DONE
from tidegate.settings_building import build_settings
from tidegate.wiring.serving import serve_api

EXAMPLES = "  none: `tidegate api` starts it\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the number of the socket that was handed down."""
    parser.add_argument("listener", type=int)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    settings = build_settings(os.environ)
    with socket.socket(fileno=arguments.listener) as listener:
        uvloop.run(serve_api(settings, listener))
    return DONE
