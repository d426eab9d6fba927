"""`tidegate api-process`: one of the processes that `tidegate api` starts; not for people."""

import argparse
import os
import socket
from dataclasses import replace

import uvloop

from tidegate.cli.exits import DONE
from tidegate.settings_building import build_settings, hash_threads_of
from tidegate.wiring.serving import SharedMemory, serve_api

EXAMPLES = "  none: `tidegate api` starts it\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the number of this process, from 1, and the descriptors that were handed down."""
    parser.add_argument("number", type=int)
    parser.add_argument("listener", type=int)
    parser.add_argument("profile_stamps", type=int)
    parser.add_argument("existence", type=int, nargs="?")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    settings = build_settings(os.environ)
    settings = replace(settings, hash_threads=hash_threads_of(settings, arguments.number))
    with socket.socket(fileno=arguments.listener) as listener:
        shared = SharedMemory(profile_stamps=arguments.profile_stamps, existence=arguments.existence)
        uvloop.run(serve_api(settings, listener, shared))
    return DONE
