"""Finds the command and turns whatever goes wrong into one sentence and an exit code."""

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, Protocol

from tidegate.cli.exits import EXPECTED, WRONG_WORDS, CommandFailed, failure

COMMANDS: Final[Mapping[str, str]] = {
    "up": "start everything on this machine: PostgreSQL, the API, a worker",
    "cluster": "start many nodes with replicas, queue and balancer on this machine, and break them by hand",
    "api": "serve the API, against the database that the settings name",
    "worker": "do what logins leave behind, against the database that the settings name",
    "admin": "serve the admin API, on a port of its own, for who has the admin token",
    "balancer": "print the configuration of a load balancer before several nodes",
    "migrate": "bring the schema up or down, or tell where it stands",
    "config": "check the settings, or list them with default, unit and meaning",
    "keys": "list or rotate the keys that sign access tokens",
    "doctor": "tell what is wrong or slow here, and what to do about it",
    "calibrate": "measure how fast this machine hashes, and say which hash profile suits it",
    "capacity": "reckon the nodes, cores and memory for so many logins in so short a time",
    "jobs": "list, show, count or try again what is to be done after answers",
    "campaigns": "make, steer and watch campaigns, void coupons, and prove that everybody got what is theirs",
    "users": "add, show, disable, enable or delete a user; import and export many",
    "version": "print the version",
}
"""The commands, one module of this package each, in the order of their telling."""

HIDDEN: Final[Mapping[str, str]] = {
    "api-process": "one process of `tidegate api`, started by it",
    "existence-process": "the process that keeps the existence filter of `tidegate api`, started by it",
    "import-process": "one process of `tidegate users import`, started by it",
}

_EXAMPLES: Final = """\
examples:
  tidegate up                          start everything on 127.0.0.1:8080
  tidegate up --port 8081 --data-dir D and another beside it
  tidegate cluster --help              the whole picture on one machine, to play with
  tidegate users show alice            ask the one that runs
  tidegate config list                 every setting
  tidegate doctor                      what is wrong or slow here
  tidegate users --help                more of one command

exit codes, as in sysexits.h; 1 if `campaigns verify` found something:
  64 wrong words       65 refused           66 unreadable file    67 no such user
  69 unavailable       71 port taken        72 wrong Python       73 cannot create
  75 in use            76 wrong schema      77 another's folder   78 wrong settings

Every day of a developer: ./test --help, and ./run bench --help
"""


class Command(Protocol):
    """What each module of a command offers."""

    EXAMPLES: str
    """Shown under its help."""

    def configure(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the words that the command takes."""

    def run(self, arguments: argparse.Namespace, /) -> int:
        """Do it, and return the exit code. Raises `CommandFailed` or one of `exits.EXPECTED`."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and ends with the code of sysexits.h instead of argparse's own 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_WORDS, f"tidegate: {message}; see `{self.prog} --help`\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves our lines as they are, and knows that the names of commands are indented, which argparse forgets."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if action.nargs == argparse.PARSER:
            self._action_max_length += self._indent_increment


def main(words: Sequence[str] | None = None) -> int:
    """Run the command that *words* (by default those of the process) name, and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments, command = _parse(sys.argv[1:] if words is None else words)
        code = command.run(arguments)
        sys.stdout.flush()
    except EXPECTED as error:
        return _tell(failure(error))
    except CommandFailed as failed:
        return _tell(failed)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is left of it must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code


def _tell(failed: CommandFailed) -> int:
    for sentence in failed.sentences:
        print(f"tidegate: {sentence}", file=sys.stderr)
    return failed.code


def _parse(words: Sequence[str]) -> tuple[argparse.Namespace, Command]:
    parser = _Parser(
        prog="tidegate",
        description="The login service that stays open when everybody comes at once.",
        epilog=_EXAMPLES,
        formatter_class=_Formatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    summaries = dict(COMMANDS)
    named = next((word for word in words if not word.startswith("-")), "")
    if named in HIDDEN:
        summaries[named] = HIDDEN[named]
    loaded: dict[str, Command] = {}
    for name, summary in summaries.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        added = commands.add_parser(name, help=summary, description=description, formatter_class=parser.formatter_class)
        if name == named:
            loaded[name] = command = _load(name)
            added.epilog = f"examples:\n{command.EXAMPLES}"
            command.configure(added)
    arguments = parser.parse_args(words)
    return arguments, loaded[arguments.command]


def _load(name: str) -> Command:
    # Only the one that is named: what serves the API takes half a second to import, and the others need none of it.
    module: Command = importlib.import_module(f"tidegate.cli.{name.replace('-', '_')}")
    return module
