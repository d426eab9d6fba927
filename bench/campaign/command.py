"""What `python -m bench.campaign` takes, and how a run goes from there to its page."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
from bench.campaign.beside import OPEN, SOLD_OUT
from bench.campaign.cheap_profile import CHEAP
from bench.campaign.granting import Granting
from bench.campaign.plot import draw
from bench.campaign.storm import Storm
from bench.command import BENCH, commit, positive
from bench.many.command import rounds_of
from bench.many.question import Asked
from bench.node import given_settings
from bench.processes import machine
from bench.results import Results, page

from tidegate.passwords.engine import ENGINE
from tidegate.passwords.notations.argon2 import argon2id_prefix

QUESTIONS: Final = (Storm(), SOLD_OUT, OPEN, Granting())
USERS: Final = 50_000

_EXPLANATION: Final = """\
Measures campaigns on the cores of one machine, with one node, its workers, PostgreSQL, Valkey and NATS; passwords cost next
to nothing, so that what is left of a login is what is measured. All of it takes about four minutes. Questions:
"""

_HEAD: Final = """\
# Campaigns, when everybody logs in at once

Written by the command in it. Passwords are hashed at the least price that a login accepts, which protects nobody: the
machine shall be busy with all that is not a hash. With real hashes there are fewer logins in a second, and coupons wait for
less.
"""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for, or say what is wrong with it and exit."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.campaign",
        description=_EXPLANATION + "".join(f"  {each.name:<10} {each.title}\n" for each in QUESTIONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [each.name for each in QUESTIONS]
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help="default: all")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="of two pairs of windows each (default 3)")
    parser.add_argument("--seconds", type=positive, default=4, metavar="S", help="of each window (default 4)")
    parser.add_argument("--users", type=positive, default=USERS, metavar="N", help=f"who takes part (default {USERS})")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where campaign.json, .png and CAMPAIGN.md go (default bench/results, bench)",
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
        profile=argon2id_prefix(CHEAP).rstrip("$"),
        engine=ENGINE.name,
        services=["all parts of an installation"],
        rounds={each.name: rounds_of(each, replace(asked, rounds=min(asked.rounds, each.rounds_max))) for each in wanted},
    )


def write_down(results: Results, given: argparse.Namespace) -> list[Path]:
    """Write every number, the plot and the page; return their paths."""
    numbers = (given.out or BENCH / "results") / "campaign.json"
    told = (given.out or BENCH) / "CAMPAIGN.md"
    for path in (numbers, told):
        path.parent.mkdir(parents=True, exist_ok=True)
    numbers.write_bytes(msgspec.json.encode(results) + b"\n")
    drawn = draw(results, numbers.with_suffix(".png"))
    told.write_text(campaign_page(results, drawn))
    return [numbers, *drawn, told]


def campaign_page(results: Results, drawn: Sequence[Path] = ()) -> str:
    """Return what is said of *results*, with the plots that were *drawn* of them."""
    plots = "".join(f"\n![{path.stem}](results/{path.name})\n" for path in drawn)
    return f"{_HEAD}\n{page(results, QUESTIONS)}\n{plots}\nEvery number: `results/campaign.json`.\n"


def _command(given: argparse.Namespace) -> str:
    numbers = f"--rounds {given.rounds} --seconds {given.seconds} --users {given.users}"
    return " ".join(["python -m bench.campaign", *given.questions, numbers])


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
