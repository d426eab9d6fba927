"""`tidegate capacity`: what does it take for so many logins in so short a time?"""

import argparse
import re
from pathlib import Path
from typing import Final

from tidegate.calibration.calibrating import measure_one
from tidegate.calibration.capacity import NodeKind, Storm, plan
from tidegate.calibration.figures import FiguresUnreadable, ProfileFigures, as_json, read_calibration
from tidegate.calibration.pages import plan_page
from tidegate.cli.exits import DONE, UNAVAILABLE, UNREADABLE_FILE, CommandFailed
from tidegate.cli.options import read_alone, read_given
from tidegate.cli.progress import Progress
from tidegate.config import declared
from tidegate.settings_building import connections_each, processes_by_default
from tidegate.settings_node import usable_cores, usable_memory_bytes
from tidegate.settings_sources import Given

EXAMPLES = """\
  tidegate capacity --users 100000 --within 60s
                                       measures this machine for some seconds, and reckons with nodes like it
  tidegate capacity --users 100000 --within 5m --cores-per-node 16
                                       with nodes of 16 such cores
  tidegate calibrate --json >node.json and where the nodes are to be bought:
  tidegate capacity --users 2000000 --within 1h --measured node.json
"""

_SECONDS: Final = 4.0
"""Five rounds of three ways: a quarter of a second each, some tens of hashes."""

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|m|h)", re.ASCII)
_SECONDS_OF: Final = {"s": 1, "m": 60, "h": 3_600}

_COUNT: Final = re.compile(r"(?=.{1,15}$)[0-9]+(?:_[0-9]+)*", re.ASCII)


def configure(parser: argparse.ArgumentParser) -> None:
    """Take the storm, the nodes, and what was measured."""
    parser.add_argument("--users", type=_count, required=True, metavar="N", help="how many log in")
    parser.add_argument(
        "--within", type=_duration, required=True, metavar="DURATION", help="in what time, such as 60s, 5m or 1h"
    )
    parser.add_argument(
        "--cores-per-node", type=_count, metavar="C", help="cores of each node; default: those of the measured machine"
    )
    parser.add_argument(
        "--measured",
        type=Path,
        metavar="FILE",
        help="what `tidegate calibrate --json` wrote on a machine like the nodes; default: measure this one now",
    )
    parser.add_argument(
        "--hash-profile",
        choices=next(each.meaning.choices for each in declared() if each.name == "hash_profile"),
        metavar="P",
        help="hash profile to reckon with; default: TIDEGATE_HASH_PROFILE",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def _duration(text: str) -> float:
    matched = _DURATION.fullmatch(text)
    seconds = float(matched[1]) * _SECONDS_OF[matched[2]] if matched else 0.0
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 60s, 5m or 1h")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    """Measure or read, then reckon."""
    given = read_given(arguments, falls_back=True)
    name = arguments.hash_profile or str(read_alone("hash_profile", given))
    figures = _measure(name) if arguments.measured is None else _read(arguments.measured, name)
    node = _node(arguments.cores_per_node or figures.one_at_a_time.threads, figures, given)
    storm = Storm(users=arguments.users, within_s=arguments.within)
    reckoned = plan(storm, node, profile=name, is_from_file=arguments.measured is not None)
    print(as_json(reckoned) if arguments.json else plan_page(reckoned), end="")
    return DONE


def _node(cores: int, figures: ProfileFigures, given: Given) -> NodeKind:
    """A node as it would be set up: what is not set follows from its cores, as at a start there."""
    each = connections_each(
        int(read_alone("database_connections", given)), has_replicas=bool(read_alone("replica_dsns", given))
    )
    budget = int(read_alone("database_connections_budget", given))
    return NodeKind(
        cores=cores,
        hashing=figures.in_a_storm,
        processes=int(read_alone("api_processes", given)) or processes_by_default(cores, each=each, budget=budget),
        connections_per_process=each,
    )


def _measure(name: str) -> ProfileFigures:
    cores = usable_cores()
    with Progress(f"measuring {name} on {cores} cores for about {_SECONDS:g} s") as progress:
        try:
            return measure_one(
                name, cores=cores, memory_bytes=usable_memory_bytes(), seconds=_SECONDS, on_progress=progress.show
            )
        except MemoryError:
            raise CommandFailed(
                UNAVAILABLE, f"there is not enough memory here to hash with {name}; name another --hash-profile"
            ) from None


def _read(path: Path, name: str) -> ProfileFigures:
    try:
        calibration = read_calibration(path.read_bytes())
    except OSError as error:
        raise CommandFailed(UNREADABLE_FILE, f"{path} cannot be read ({error.strerror}); name a readable file") from None
    except FiguresUnreadable as error:
        raise CommandFailed(
            UNREADABLE_FILE, f"{path} is not what `tidegate calibrate --json` writes ({error}); measure anew"
        ) from None
    figures = calibration.of(name)
    if figures is None:
        measured = ", ".join(each.name for each in calibration.profiles) or "none"
        raise CommandFailed(UNREADABLE_FILE, f"{path} has no figures of {name}, only of {measured}; name one of these")
    return figures
