"""Measures the logins of a Tidegate, prints what came of it and writes it down."""

import argparse
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
from bench.figures import put_section
from bench.login.results import Results, Round
from bench.login.scenario import Scenario
from bench.processes import machine
from bench.under_test import CannotMeasureError, Target, crowd, started

BENCH: Final = Path(__file__).parents[1]
SECTION: Final = "Login"

EXPLANATION: Final = """\
Measures logins/s of a Tidegate, and beside it, in turns, how many hashes/s of the same
profile the same cores make when they do nothing else. What counts is the quotient: the
share of the machine that a login leaves to its hash. The machine's own speed may drift,
so each turn of logins is divided by the turns of hashing just before and after it.

One round: raw, logins over the first number of connections, raw, logins over the second,
raw. Each connection is kept alive and asks again as soon as it is answered, each time as
another user. Between two turns the server comes to rest.

  python -m bench.login
      starts `tidegate up` on a free port with a data folder of its own and measures it
  python -m bench.login --rounds 1 --seconds 3 --no-results
      a quick look that writes nothing down
  TIDEGATE_HASH_PROFILE=... python -m bench.login
      measures other settings: those of the environment are Tidegate's
  python -m bench.login --base http://127.0.0.1:8080 --dsn postgresql://... --pid 4711
      measures one that runs on this machine; its users are added and removed by SQL

Writes every number to bench/results/login-COMMIT.json, and the section of bench/RESULTS.md.
"""


def arguments(given: list[str]) -> argparse.Namespace:
    """Return what was asked for, or say what is wrong with it and exit."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.login", description=EXPLANATION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=_positive, default=5, metavar="N", help="how often all of it (default 5)")
    parser.add_argument("--seconds", type=_positive, default=10, metavar="N", help="of each turn of logins (default 10)")
    parser.add_argument("--connections", type=_numbers, default=[64, 512], metavar="N,N", help="default 64,512")
    parser.add_argument("--users", type=_positive, default=2000, metavar="N", help="who log in (default 2000)")
    parser.add_argument("--base", metavar="URL", help="of a Tidegate that runs already")
    parser.add_argument("--dsn", help="its database; needed with --base")
    parser.add_argument("--pid", type=_positive, help="its process, for the CPU figures; optional with --base")
    parser.add_argument("--no-results", action="store_true", help="print only")
    found = parser.parse_args(given)
    if bool(found.base) != bool(found.dsn):
        parser.error("--base and --dsn go together")
    if found.users < max(found.connections):
        parser.error("there must be as many users as connections, or two would log in as the same one at once")
    return found


def main() -> None:
    """Measure as the command line says."""
    given = arguments(sys.argv[1:])
    try:
        results = _measure(given)
    except CannotMeasureError as error:
        sys.exit(f"bench.login: {error}")
    print(results.page())
    if not given.no_results:
        _write_down(results)


def _measure(given: argparse.Namespace) -> Results:
    rounds: list[Round] = []
    with ExitStack() as stack:
        named = Target(base=given.base, dsn=given.dsn, pid=given.pid) if given.base else None
        target = named or stack.enter_context(started())
        people = stack.enter_context(crowd(target, users=given.users))
        scenario = Scenario(target, people, connections=given.connections, seconds=given.seconds)
        for each in scenario.rounds(given.rounds):
            rounds.append(each)
            print(f"round {len(rounds)} of {given.rounds}: {each.told()}", file=sys.stderr, flush=True)
    return Results(
        commit=_commit(),
        command=_command(given),
        machine=machine(),
        profile=people.stored.rsplit("$", 2)[0],
        rounds=rounds,
    )


def _write_down(results: Results) -> None:
    numbers = BENCH / "results" / f"login-{results.commit}.json"
    numbers.parent.mkdir(exist_ok=True)
    numbers.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    page = BENCH / "RESULTS.md"
    text = page.read_text() if page.exists() else "# Results\n\nEach section is written by the command in it.\n"
    page.write_text(put_section(text, SECTION, f"{results.page()}\n\nEvery number: `results/{numbers.name}`."))


def _command(given: argparse.Namespace) -> str:
    """Return the command without what is of one machine only; a DSN may hold a password."""
    connections = ",".join(map(str, given.connections))
    measured = f"--rounds {given.rounds} --seconds {given.seconds} --connections {connections} --users {given.users}"
    return f"python -m bench.login {measured}{' --base URL --dsn DSN' if given.base else ''}"


def _commit() -> str:
    """Return the commit of the code that is measured, marked when files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=BENCH, capture_output=True, text=True, check=True).stdout.strip()

    differs = git("status", "--porcelain", "--", "../src", ".")
    return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if differs else "")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _numbers(text: str) -> list[int]:
    return list(dict.fromkeys(_positive(part) for part in text.split(",")))


if __name__ == "__main__":
    main()
