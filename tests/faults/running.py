"""One run: start everything, let clients work, disturb by a plan, heal, see everything serve again, read everything back.

`python -m tests.faults.running --seed 7` draws a plan from the seed and judges the run, `--faults "primary killed"` takes
these in this order, `--mutation` a build without a guard; `--keep run.json` keeps the history. `--each --keep runs` has
every fault once, over several runs, and keeps their histories in a folder, for `tests/faults/figures.py`.
"""

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.faults.calling import Caller, Calls, Person, new_person
from tests.faults.checkers import Violation, checkers, judge, told
from tests.faults.disturbances import DISTURBANCES, possible
from tests.faults.history import History, Kind, Recorder, as_json
from tests.faults.ledger import open_ledger, read_ledger, rows_of
from tests.faults.mutating import Mutation, mutated, mutations
from tests.faults.parts import GRACE_S, REQUEST_DEADLINE_S, Node, Parts, Starting
from tests.faults.primaries import Primaries
from tests.faults.small_disks import NEEDS_ROOT
from tests.faults.stages import Stage
from tests.faults.workload import Visitor
from tests.support.databases import make_migrated_database

CLIENTS: Final = 8
WITHIN_S: Final = REQUEST_DEADLINE_S + 5.0
"""For P10: the nodes' deadline, and what a machine that does much else may add to it."""

_CALM_S: Final = 1.0
_CALM_CALLS: Final = 300
_CALM_S_MAX: Final = 12.0
"""Before the first fault and after each: so long, and until so much is done, for a busy machine must not prove less."""

_REPLICAS: Final = 2
_FAULTS_OF_A_RUN: Final = 7
_HOLD_S: Final = (0.5, 3.5)
_PROBED_FOR_S: Final = 45.0
_DRAINED_WITHIN_S: Final = 60.0
"""A job that the queue has lost is published again when its claim ends, after 20 s."""

_READ_BACK_LOGINS: Final = 40


@dataclass(frozen=True)
class Planned:
    """One fault of a plan."""

    name: str
    node: str
    hold_s: float


def plan_of(seed: int, names: Sequence[str], *, count: int | None = None, hold_s: float | None = None) -> list[Planned]:
    """*count* of *names* in an order of chance, or each of them in the given order; on nodes and for times of chance."""
    chance = random.Random(f"plan {seed}")
    drawn = list(names) if count is None else chance.sample(list(names), count)
    return [Planned(name, chance.choice(("node-1", "node-2")), hold_s or chance.uniform(*_HOLD_S)) for name in drawn]


def run(seed: int, plan: Sequence[Planned], *, source: Path | None = None, clients: int = CLIENTS) -> History:
    """Let everything happen, and return what did.

    Call it from the main thread: servers end when the thread that started them ends.

    Args:
        seed: Of the clients' chance.
        plan: The faults, one after the other.
        source: The folder of another build's package; None: ours.
        clients: How many there are.
    """
    recorder = Recorder()
    has_small_disk = any(DISTURBANCES[each.name].needs_small_disk for each in plan)
    with _folder() as folder, Primaries(folder, has_small_disk=has_small_disk).opened() as primaries:
        database = make_migrated_database(primaries.leader)
        open_ledger(primaries.leader.dsn(database))
        if any(DISTURBANCES[each.name].needs_replicas for each in plan):
            primaries.add_replicas(_REPLICAS)
        with Starting(folder, primaries, database, source=source) as parts:
            ports = {node.name: node.front.port for node in parts.nodes}
            with _working(recorder, ports, seed, clients) as visitors:
                operator = _Operator(parts, recorder, random.Random(f"operator {seed}"))
                strangers = _disturb(parts, recorder, plan, seed, operator)
                healed_s = time.monotonic()
                operator.act()
                probing = _probe(parts, recorder, ports, seed)
            persons = [*strangers, *probing, *(person for visitor in visitors for person in visitor.persons)]
            _read_back(parts, recorder, persons, ports)
            _drain(parts)
            jobs = read_ledger(parts.dsn)
    return History(
        seed=seed,
        calls=recorder.calls,
        faults=recorder.faults,
        jobs=jobs,
        nodes=tuple(ports),
        healed_s=healed_s,
        is_clock_off=any(DISTURBANCES[each.name].turns_clock for each in plan),
    )


def verdicts_of(history: History) -> dict[str, list[Violation]]:
    """What the checkers say of a run."""
    return judge(history, checkers(grace_s=GRACE_S, within_s=WITHIN_S))


def run_mutated(seed: int, mutation: Mutation) -> History:
    """`run` on the build without the guard of *mutation*, under the faults that show it."""
    with _folder() as folder:
        plan = plan_of(seed, mutation.faults, hold_s=mutation.hold_s)
        return run(seed, plan, source=mutated(mutation, folder))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-faults-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _probe(parts: Parts, recorder: Recorder, ports: dict[str, int], seed: int) -> list[Person]:
    """Ask each node for everything until it serves, or for longer than it may take; who was registered for that."""
    chance = random.Random(f"probe {seed}")
    give_up_at = time.monotonic() + _PROBED_FOR_S
    waiting = list(parts.nodes)
    persons: list[Person] = []
    while waiting and time.monotonic() < give_up_at:
        for node in list(waiting):
            persons.append(new_person("probe", len(persons), chance))
            if _serves_all(Calls("probe", recorder, Caller(ports)), node, persons[-1]):
                waiting.remove(node)
        time.sleep(0.1)
    return persons


def _serves_all(calls: Calls, node: Node, person: Person) -> bool:
    with calls.recorder.call(Kind.PROBE, client="probe", node=node.name) as under_way:
        statuses = [calls.register(person, node.name)]
        status, session = calls.log_in(person, node.name, 0, "username")
        statuses.append(status)
        if session is not None:
            statuses.append(calls.me(person, node.name, session))
            statuses.append(calls.refresh(person, node.name, session, session.refresh_token)[0])
        calls.caller.close()
        under_way.status = 200 if statuses == [200] * 4 else None
    return under_way.status == 200


def _drain(parts: Parts) -> None:
    """Wait until no job waits; what still does after a generous time is a finding."""
    give_up_at = time.monotonic() + _DRAINED_WITHIN_S
    while read_ledger(parts.dsn).waiting and time.monotonic() < give_up_at:
        time.sleep(0.2)


def _read_back(parts: Parts, recorder: Recorder, persons: Sequence[Person], ports: dict[str, int]) -> None:
    """Look everybody up in the primary, under each name; log some in, by their latest passwords."""
    rows = rows_of(parts.dsn)
    for person in persons:
        row = rows.get(person.username, {})
        for kind, name in person.names.items():
            with recorder.call(
                Kind.LOOK_UP, client="read-back", node="primary", user=person.username, named_by=kind
            ) as under_way:
                under_way.status = 200 if row.get(kind) == name else 404
                under_way.note(wish=row.get("full_name"))
    calls = Calls("read-back", recorder, Caller(ports))
    for person in persons[:: max(1, len(persons) // _READ_BACK_LOGINS)]:
        node = parts.nodes[len(person.username) % len(parts.nodes)].name
        for label in range(max(0, person.labels - 3), person.labels):
            calls.log_in(person, node, label, "username")
    calls.caller.close()


def main() -> int:
    """Run as the words of the command line say; 0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.running", description="One run of faults.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=8, help="how many faults are drawn")
    parser.add_argument("--faults", nargs="+", choices=sorted(DISTURBANCES), help="these, in this order")
    parser.add_argument("--mutation", choices=[each.name for each in mutations()], help="under its faults, on its build")
    parser.add_argument("--each", action="store_true", help="every fault once, over several runs; --keep names a folder")
    parser.add_argument("--keep", type=Path, help="a file for the history")
    words = parser.parse_args()
    if not set(words.faults or ()) <= set(possible()):
        parser.error(f"{NEEDS_ROOT}: {', '.join(sorted(set(words.faults) - set(possible())))}")
    if words.each:
        return _run_each(words.seed, words.keep)
    if words.mutation:
        (mutation,) = [each for each in mutations() if each.name == words.mutation]
        history = run_mutated(words.seed, mutation)
    elif words.faults:
        history = run(words.seed, plan_of(words.seed, words.faults))
    else:
        history = run(words.seed, plan_of(words.seed, possible(), count=words.count))
    if words.keep:
        words.keep.write_text(as_json(history))
    verdicts = verdicts_of(history)
    print(told(verdicts) or "nothing was found")
    return 1 if verdicts else 0


def _run_each(seed: int, folder: Path | None) -> int:
    is_bad = False
    plan = plan_of(seed, possible(), count=len(possible()))
    for number, first in enumerate(range(0, len(plan), _FAULTS_OF_A_RUN)):
        part = plan[first : first + _FAULTS_OF_A_RUN]
        history = run(seed + number, part)
        if folder is not None:
            folder.mkdir(exist_ok=True)
            (folder / f"run-{number}.json").write_text(as_json(history))
        verdicts = verdicts_of(history)
        print(*(each.name for each in part), told(verdicts) or "nothing was found", sep="\n", flush=True)
        is_bad |= bool(verdicts)
    return 1 if is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
