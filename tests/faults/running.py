"""One run: start everything, let clients work, disturb by a plan, heal, see everything serve again, read everything back.

`python -m tests.faults.running --seed 7` draws a plan from the seed and judges the run, `--faults "primary killed"` takes
these in this order, `--mutation` a build without a guard; `--keep run.json` keeps the history. `--each --keep runs` has
every fault once, over several runs, and keeps their histories in a folder, for `tests/faults/figures.py`.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.faults.calling import Person
from tests.faults.campaign_faults import CAMPAIGN_FAULTS
from tests.faults.campaigning import CAMPAIGN_PLAN, run_campaign
from tests.faults.checkers import checkers, judge, storm_shares, told
from tests.faults.disturbances import DISTURBANCES, possible
from tests.faults.ending import drain, probe, read_back
from tests.faults.history import History, Kind, Recorder, as_json
from tests.faults.ledger import open_ledger, read_ledger
from tests.faults.mutating import Mutation, mutated, mutations
from tests.faults.parts import GRACE_S, REQUEST_DEADLINE_S, Parts, Starting
from tests.faults.plans import REPLICAS, Planned, plan_of
from tests.faults.primaries import Primaries, own_folder
from tests.faults.small_disks import NEEDS_ROOT
from tests.faults.stages import Stage
from tests.faults.storming import STORM, run_storm
from tests.faults.violations import Violation
from tests.faults.workload import Visitor
from tests.support.databases import make_migrated_database

CLIENTS: Final = 8
WITHIN_S: Final = REQUEST_DEADLINE_S + 5.0
"""For P10: the nodes' deadline, and what a machine that does much else may add to it."""

BEHIND_A_BALANCER: Final = (
    "node killed",
    "balancer killed",
    "API process killed",
    "roll-out",
    "balancer stopped",
    "answers cut",
    "node stopped",
)
"""What clients who do not know the nodes are to be tried with; any other may come with these."""

_CALM_S: Final = 1.0
_CALM_CALLS: Final = 300
_CALM_S_MAX: Final = 12.0
"""Before the first fault and after each: so long, and until so much is done, for a busy machine must not prove less."""

_FAULTS_OF_A_RUN: Final = 7


def run(
    seed: int,
    plan: Sequence[Planned],
    *,
    source: Path | None = None,
    clients: int = CLIENTS,
    is_balanced: bool = False,
) -> History:
    """Let everything happen, and return what did.

    Call it from the main thread: servers end when the thread that started them ends.

    Args:
        seed: Of the clients' chance.
        plan: The faults, one after the other.
        source: The folder of another build's package; None: ours.
        clients: How many there are.
        is_balanced: They go through the load balancer, as they do in any case when the plan hits it.
    """
    is_balanced |= any(DISTURBANCES[each.name].hits_balancer for each in plan)
    recorder = Recorder()
    has_small_disk = any(DISTURBANCES[each.name].needs_small_disk for each in plan)
    with own_folder() as folder, Primaries(folder, has_small_disk=has_small_disk).opened() as primaries:
        database = make_migrated_database(primaries.leader)
        open_ledger(primaries.leader.dsn(database))
        if any(DISTURBANCES[each.name].needs_replicas for each in plan):
            primaries.add_replicas(REPLICAS)
        with Starting(folder, primaries, database, source=source, is_balanced=is_balanced) as parts:
            ports = parts.ports
            with _working(recorder, ports, seed, clients) as visitors:
                operator = _Operator(parts, recorder, random.Random(f"operator {seed}"))
                strangers = _disturb(parts, recorder, plan, seed, operator)
                healed_s = time.monotonic()
                operator.act()
                probing = probe(recorder, parts.ports_of_nodes | ports, seed)
            persons = [*strangers, *probing, *(person for visitor in visitors for person in visitor.persons)]
            read_back(parts, recorder, persons, ports)
            unrest = drain(parts)
            jobs = read_ledger(parts.dsn)
    return History(
        seed=seed,
        calls=recorder.calls,
        faults=recorder.faults,
        jobs=jobs,
        nodes=tuple(ports),
        healed_s=healed_s,
        unrest=unrest,
    )


def verdicts_of(history: History) -> dict[str, list[Violation]]:
    """What the checkers say of a run."""
    return judge(history, checkers(grace_s=GRACE_S, within_s=WITHIN_S))


def run_mutated(seed: int, mutation: Mutation) -> History:
    """`run` on the build without the guard of *mutation*, under the faults that show it."""
    with own_folder() as folder:
        source = mutated(mutation, folder)
        if mutation.faults == (STORM,):
            return run_storm(seed, source=source)
        plan = plan_of(seed, mutation.faults, hold_s=mutation.hold_s)
        if mutation.cap is not None:
            return run_campaign(seed, plan, cap=mutation.cap, source=source, statements=mutation.statements)
        return run(seed, plan, source=source)


@contextlib.contextmanager
def _working(recorder: Recorder, ports: dict[str, int], seed: int, clients: int) -> Iterator[list[Visitor]]:
    visitors = [
        Visitor(f"visitor-{number}", recorder=recorder, ports=ports, chance=random.Random(f"visitor {number} {seed}"))
        for number in range(clients)
    ]
    for visitor in visitors:
        visitor.start()
    try:
        yield visitors
    finally:
        for visitor in visitors:
            visitor.stop()
        for visitor in visitors:
            visitor.join(60)
    for visitor in visitors:
        assert visitor.fault is None, visitor.fault


def _disturb(parts: Parts, recorder: Recorder, plan: Sequence[Planned], seed: int, operator: "_Operator") -> list[Person]:
    """Let all of *plan* happen; whom the faults have registered themselves."""
    persons: list[Person] = []
    for number, planned in enumerate(plan):
        _calm(recorder)
        operator.act()
        disturbance = DISTURBANCES[planned.name]
        stage = Stage(
            parts,
            parts.node(planned.node),
            random.Random(f"fault {number} {seed}"),
            partial(time.sleep, planned.hold_s),
            recorder,
            persons,
        )
        with recorder.fault(planned.name, disturbance.targets(stage)):
            disturbance.act(stage)
    _calm(recorder)
    return persons


def _calm(recorder: Recorder) -> None:
    done, began_s = len(recorder.calls), time.monotonic()
    time.sleep(_CALM_S)
    while len(recorder.calls) < done + _CALM_CALLS and time.monotonic() < began_s + _CALM_S_MAX:
        time.sleep(0.1)


class _Operator:
    """Disables somebody with `tidegate users`, and lets somebody in again, now and then."""

    def __init__(self, parts: Parts, recorder: Recorder, chance: random.Random) -> None:
        self._parts = parts
        self._recorder = recorder
        self._chance = chance
        self._disabled: list[str] = []

    def act(self) -> None:
        """Do one thing to somebody who has logged in lately."""
        lately = [call.user for call in self._recorder.calls[-300:] if call.kind is Kind.LOGIN and call.status == 200]
        if len(self._disabled) > 2:
            self._say("enable", Kind.ENABLE, self._disabled.pop(0))
        elif lately:
            user = self._chance.choice(lately)
            self._disabled.append(user)
            self._say("disable", Kind.DISABLE, user)

    def _say(self, action: str, kind: Kind, user: str) -> None:
        with self._recorder.call(kind, client="operator", node="primary", user=user) as under_way:
            done = subprocess.run(
                [sys.executable, "-m", "tidegate", "users", action, user],
                env=dict(self._parts.operator),
                cwd=self._parts.folder,
                capture_output=True,
                timeout=60,
                check=False,
            )
            under_way.status = 200 if done.returncode == 0 else 500


def main() -> int:
    """Run as the words of the command line say; 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.running", description="One run of faults.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=8, help="how many faults are drawn")
    names = sorted({*DISTURBANCES, *CAMPAIGN_FAULTS})
    parser.add_argument("--faults", nargs="+", choices=names, help="these, in this order")
    parser.add_argument(
        "--campaign", type=int, metavar="CAP", help="a crowd logs in for the first time for so many coupons"
    )
    parser.add_argument("--balanced", action="store_true", help="clients go through the load balancer")
    parser.add_argument("--storm", action="store_true", help="more logins than can be hashed, and nothing else")
    parser.add_argument("--mutation", choices=[each.name for each in mutations()], help="under its faults, on its build")
    parser.add_argument("--each", action="store_true", help="every fault once, over several runs; --keep names a folder")
    parser.add_argument("--keep", type=Path, help="a file for the history")
    words = parser.parse_args()
    if not set(words.faults or ()) <= {*possible(), *(CAMPAIGN_FAULTS if words.campaign or words.mutation else ())}:
        parser.error(f"not in this run (or: {NEEDS_ROOT}): {', '.join(sorted(set(words.faults) - set(possible())))}")
    if words.each:
        return _run_each(words.seed, words.keep)
    if words.mutation:
        (mutation,) = [each for each in mutations() if each.name == words.mutation]
        history = run_mutated(words.seed, mutation)
    elif words.campaign:
        plan = plan_of(words.seed, words.faults or CAMPAIGN_PLAN, count=None if words.faults else words.count)
        history = run_campaign(words.seed, plan, cap=words.campaign)
    elif words.storm:
        history = run_storm(words.seed)
    elif words.faults:
        history = run(words.seed, plan_of(words.seed, words.faults), is_balanced=words.balanced)
    else:
        plan = plan_of(words.seed, possible(), count=words.count)
        history = run(words.seed, plan, is_balanced=words.balanced)
    if words.keep:
        words.keep.write_text(as_json(history))
    if history.storms:
        shares = ", ".join(f"{share:.2f}" for share in storm_shares(history))
        print(f"logins a second of each storm, of those at the peaks about it: {shares}")
    verdicts = verdicts_of(history)
    print(told(verdicts) or "nothing was found")
    if history.unrest:
        print("it did not come to rest:", history.unrest, sep="\n")
    return 1 if verdicts else 0


def _run_each(seed: int, folder: Path | None) -> int:
    is_bad = False
    unbalanced = [name for name in possible() if not DISTURBANCES[name].hits_balancer]
    plan = plan_of(seed, unbalanced, count=len(unbalanced))
    parts = [plan[first : first + _FAULTS_OF_A_RUN] for first in range(0, len(plan), _FAULTS_OF_A_RUN)]
    for number, part in enumerate([*parts, plan_of(seed, BEHIND_A_BALANCER), None]):
        history = run_storm(seed) if part is None else run(seed + number, part)
        if folder is not None:
            folder.mkdir(exist_ok=True)
            (folder / f"run-{number}.json").write_text(as_json(history))
        verdicts = verdicts_of(history)
        print(*(span.name for span in history.faults), told(verdicts) or "nothing was found", sep="\n", flush=True)
        is_bad |= bool(verdicts)
    return 1 if is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
