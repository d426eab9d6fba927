"""What `./run bench` takes, and how a run goes from there to its results."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
from bench import node
from bench.field import Field
from bench.ground import CannotMeasureError, Ground, Service
from bench.peers import PEERS, is_there
from bench.processes import machine
from bench.results import Results
from bench.scenarios import scenarios
from bench.scenarios.scenario import Scenario
from bench.turns import Round

from tidegate.passwords.engine import ENGINE

BENCH: Final = Path(__file__).parent
USERS: Final = 100_000

_EXPLANATION: Final = """\
Measures a Tidegate that it starts for it (`tidegate up`, 100,000 users), and beside it, in turns, what the same
cores hash when they do nothing else, and peers that do the same job on the same PostgreSQL. What counts are quotients
of neighbours in time: the machine's own speed may drift. Everything that runs takes part in the load of the cores, the
driver too; between two turns all come to rest.
"""

_EXAMPLES: Final = """\
examples:
  ./run bench                          every scenario, Tidegate alone
  ./run bench --peers FOLDER           beside the peers that are built in FOLDER
  ./run bench me refresh --rounds 1 --seconds 3 --out /tmp/bench
                                       a quick look at two scenarios, written elsewhere
  TIDEGATE_API_PROCESSES=2 ./run bench other settings: those of the environment are Tidegate's

Three rounds of all scenarios with peers take about half an hour. Every number goes to bench/results/COMMIT.json, plots
beside it; such a run is also told in bench/RESULTS.md. Scenarios:
"""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for, or say what is wrong with it and exit."""
    known = scenarios(storm_s=60)
    listed = "".join(f"  {each.name:<36} {each.title}\n" for each in known)
    parser = argparse.ArgumentParser(
        prog="./run bench",
        description=_EXPLANATION,
        epilog=_EXAMPLES + listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument(
        "--peers", type=Path, metavar="FOLDER", help="where peers are built; those that are there take part"
    )
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="how often all of it (default 3)")
    parser.add_argument("--seconds", type=positive, default=8, metavar="S", help="of each turn of load (default 8)")
    parser.add_argument("--storm-seconds", type=positive, default=60, metavar="S", help="of the storm (default 60)")
    parser.add_argument("--users", type=positive, default=USERS, metavar="N", help=f"who can log in (default {USERS})")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default bench/results)")
    found = parser.parse_args(given)
    wrong = set(found.scenarios) - {each.name for each in known}
    if wrong:
        parser.error(f"there is no scenario {', '.join(sorted(wrong))}; see ./run bench --help")
    if found.peers is not None and not any(is_there(name, found.peers) for name in PEERS):
        parser.error(f"no peer is built in {found.peers}")
    return found


def is_full(given: argparse.Namespace) -> bool:
    """Whether a run says enough to stand in RESULTS.md."""
    return not given.scenarios and given.peers is not None and given.out is None


def measure(given: argparse.Namespace) -> tuple[Results, Sequence[Scenario]]:
    """Run what was asked for.

    Raises:
        CannotMeasureError: It cannot go on. The folder of the logs is kept then, and named.
    """
    wanted = [
        each for each in scenarios(storm_s=given.storm_seconds) if not given.scenarios or each.name in given.scenarios
    ]
    folder = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
    try:
        with ExitStack() as stack:
            service, ground = stack.enter_context(node.started(folder, users=given.users))
            services = {service.name: service} | _peers(stack, given, ground, wanted)
            field = Field(ground, services, seconds=given.seconds, tell=_say)
            rounds = {each.name: _rounds(each, field, given.rounds) for each in wanted}
    except CannotMeasureError as error:
        raise CannotMeasureError(f"{error} The logs are in {folder}.") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    results = Results(
        commit=commit(),
        command=_command(given),
        machine=machine(),
        settings=node.given_settings(),
        profile=ground.stored.rsplit("$", 2)[0],
        engine=ENGINE.name,
        services=list(services),
        rounds=rounds,
    )
    return results, wanted


def write_down(results: Results, given: argparse.Namespace) -> Path:
    """Write every number; return the path."""
    folder: Path = given.out or BENCH / "results"
    folder.mkdir(parents=True, exist_ok=True)
    numbers = folder / ("-".join([results.commit, *given.scenarios]) + ".json")
    numbers.write_bytes(msgspec.json.encode(results) + b"\n")
    return numbers


def results_page(told: str, numbers: Path, plots: Sequence[Path]) -> str:
    """Return the page of the last full run.

    Args:
        told: What is said of it.
        numbers: Where every number is, in the folder `results`.
        plots: Where the plots are, there too.
    """
    head = "# Results\n\nThe last full run, written by the command in it."
    drawn = "\n".join(f"![{path.stem.rpartition('-')[2]}](results/{path.name})" for path in plots)
    return f"{head}\n\n{told}\n\nEvery number: `results/{numbers.name}`.\n\n{drawn}".rstrip() + "\n"


def commit() -> str:
    """Return the commit of the code that is measured, marked when files differ from it; `unknown` where git cannot say."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=BENCH, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    differs = git("status", "--porcelain", "--", "../src", "../ext", "*.py")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-dirty" if differs else "")


def _peers(stack: ExitStack, given: argparse.Namespace, ground: Ground, wanted: Sequence[Scenario]) -> dict[str, Service]:
    if given.peers is None:
        return {}
    needed = dict.fromkeys(name for each in wanted for name in each.peers)
    folder, services = given.peers.absolute(), {}
    for name in needed:
        if is_there(name, folder):
            _say(f"starting {name}")
            services[name] = stack.enter_context(PEERS[name](folder, ground))
        else:
            _say(f"{name} is not built in {folder} and takes no part")
    return services


def _rounds(scenario: Scenario, field: Field, count: int) -> list[Round]:
    rounds = []
    for number in range(count):
        _say(f"{scenario.title}: round {number + 1} of {count}")
        rounds.append(scenario.round(field, number))
    return rounds


def _command(given: argparse.Namespace) -> str:
    """Return the command without what is of one machine only."""
    words = [*given.scenarios, *(["--peers FOLDER"] if given.peers else [])]
    numbers = (
        f"--rounds {given.rounds} --seconds {given.seconds} --storm-seconds {given.storm_seconds} --users {given.users}"
    )
    return " ".join(["./run bench", *words, numbers])


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def positive(text: str) -> int:
    """Read *text* of a command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
