"""A short run of faults drawn from a seed: no promise is broken (DESIGN 6). The whole matrix runs with ./test --full."""

from collections import Counter
from typing import Final

from tests.faults.checkers import told
from tests.faults.disturbances import DISTURBANCES, possible
from tests.faults.history import Kind, Outcome
from tests.faults.plans import plan_of
from tests.faults.running import run, verdicts_of
from tests.support.seeds import SEED

FAULTS: Final = 8
AT_LEAST: Final = {
    Kind.REGISTER: 20,
    Kind.LOGIN: 60,
    Kind.REFRESH: 60,
    Kind.CHANGE_PASSWORD: 15,
    Kind.LOGOUT: 5,
    Kind.ME: 15,
}
"""Acknowledged calls without which a run proves nothing, on the slowest of machines."""


def test_promises_hold_while_parts_are_killed_frozen_and_cut_off():
    plan = plan_of(SEED, possible(), count=FAULTS)
    again = f"python -m tests.faults.running --seed {SEED} --count {FAULTS}"
    print(again, *plan, sep="\n")
    history = run(SEED, plan)
    verdicts = verdicts_of(history)
    assert not verdicts, f"{again}\n{told(verdicts)}"
    acknowledged = Counter(call.kind for call in history.calls if call.outcome is Outcome.OK)
    assert all(acknowledged[kind] >= count for kind, count in AT_LEAST.items()), acknowledged
    assert [span.name for span in history.faults] == [planned.name for planned in plan]


def test_a_seed_always_draws_the_same_plan_and_another_seed_another():
    names = list(DISTURBANCES)
    assert plan_of(1, names, count=FAULTS) == plan_of(1, names, count=FAULTS)
    assert plan_of(1, names, count=FAULTS) != plan_of(2, names, count=FAULTS)
