"""What `python -m bench.many` takes, and how a run goes from there to its page."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from bench.command import BENCH, commit, positive
from bench.ground import CannotMeasureError
from bench.many.balancing import Balancing
from bench.many.dying import Dying
from bench.many.question import Asked, Question
from bench.many.reading import Reading
from bench.many.revoking import Revoking
from bench.many.working import Working
from bench.node import given_settings
from bench.processes import machine
from bench.results import Results, page
from bench.turns import Round

from tidegate.embedded.server import EmbeddedServerError
from tidegate.passwords.engine import ENGINE
from tidegate.passwords.notations.argon2 import argon2id_prefix
from tidegate.passwords.profiles import DEFAULT_PROFILE

QUESTIONS: Final[Sequence[Question]] = (Balancing(), Reading(), Revoking(), Working(), Dying())
USERS: Final = 20_000

_EXPLANATION: Final = """\
Measures several nodes of Tidegate with all that they need, on the cores of one machine: what a balancer costs, what
replicas take off the primary, how late another node knows of a revocation, how many jobs a worker does, and how
long each part's death is felt. Variants take turns, in every other round backwards. Questions:
"""

_HEAD: Final = """\
# Many nodes on one machine

Written by the command in it. More nodes on the same cores bear no more: the figures say what the parts between them cost.
"""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for, or say what is wrong with it and exit."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.many",
        description=_EXPLANATION + "".join(f"  {each.name:<10} {each.title}\n" for each in QUESTIONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [each.name for each in QUESTIONS]
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help="default: all")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="how often all of it (default 3)")
    parser.add_argument("--seconds", type=positive, default=8, metavar="S", help="of each turn of load (default 8)")
    parser.add_argument("--users", type=positive, default=USERS, metavar="N", help=f"who can log in (default {USERS})")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where many.json and MANY.md go (default bench/results and bench)"
    )
    found = parser.parse_args(given)
    wrong = set(found.questions) - set(names)
    if wrong:
        parser.error(f"there is no question {', '.join(sorted(wrong))}; there are {', '.join(names)}")
    return found


def measure(given: argparse.Namespace) -> Results:
    """Ask what was asked for.

    Raises:
        CannotMeasureError: It cannot go on. The folder of the logs is kept then, and named.
    """
    asked = Asked(rounds=given.rounds, seconds=given.seconds, users=given.users, tell=_say)
    wanted = [each for each in QUESTIONS if not given.questions or each.name in given.questions]
    return Results(
        commit=commit(),
        command=_command(given),
        machine=machine(),
        settings=given_settings(),
        profile=argon2id_prefix(DEFAULT_PROFILE).rstrip("$"),
        engine=ENGINE.name,
        services=["all nodes of an installation"],
        rounds={each.name: rounds_of(each, asked) for each in wanted},
    )


def write_down(results: Results, given: argparse.Namespace) -> list[Path]:
    """Write every number and the page; return their paths."""
    numbers = (given.out or BENCH / "results") / "many.json"
    told = (given.out or BENCH) / "MANY.md"
    for path in (numbers, told):
        path.parent.mkdir(parents=True, exist_ok=True)
    numbers.write_bytes(msgspec.json.encode(results) + b"\n")
    told.write_text(many_page(results))
    return [numbers, told]


def many_page(results: Results) -> str:
    """Return what is said of *results*."""
    return f"{_HEAD}\n{page(results, QUESTIONS)}\n\nEvery number: `results/many.json`.\n"


def rounds_of(question: Question, asked: Asked) -> list[Round]:
    """Let *question* start what it asks, and take its turns.

    Raises:
        CannotMeasureError: It cannot go on. The folder of the logs is kept then, and named.
    """
    folder = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
    rounds = []
    try:
        asked.tell(f"{question.title}: starting")
        with question.asking(folder, asked) as take:
            for number in range(asked.rounds):
                asked.tell(f"{question.title}: round {number + 1} of {asked.rounds}")
                rounds.append(take(number))
    except (CannotMeasureError, EmbeddedServerError) as error:
        raise CannotMeasureError(f"{error} The logs are in {folder}.") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return rounds


def _command(given: argparse.Namespace) -> str:
    numbers = f"--rounds {given.rounds} --seconds {given.seconds} --users {given.users}"
    return " ".join(["python -m bench.many", *given.questions, numbers])


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
