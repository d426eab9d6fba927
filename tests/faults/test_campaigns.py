"""Whatever dies while a crowd logs in for the first time, the first N have a coupon each, nobody else one (promise P4)."""

from collections.abc import Sequence
from typing import Final

import pytest

from tests.faults.campaigning import CAMPAIGN_PLAN, CAMPAIGN_PLAN_SHORT, run_campaign
from tests.faults.checkers import told
from tests.faults.history import Kind, Outcome
from tests.faults.plans import Planned, plan_of
from tests.faults.running import verdicts_of
from tests.support.seeds import SEED

_HOLD_S: Final = 1.0
_FAULTS: Final = 9
_LOGINS_MIN: Final = 2
"""Times the cap, without which a run proves nothing, on the slowest of machines."""


def _promise_is_kept(again: str, seed: int, cap: int, plan: Sequence[Planned]) -> None:
    print(again, *plan, sep="\n")
    history = run_campaign(seed, plan, cap=cap)
    verdicts = verdicts_of(history)
    assert not verdicts, f"{again}\n{told(verdicts)}"
    logins = {call.user for call in history.calls if call.kind is Kind.LOGIN and call.outcome is Outcome.OK}
    assert len(logins) > _LOGINS_MIN * cap
    assert history.campaign is not None
    assert len(history.campaign.grants) == cap


def test_the_first_hundred_have_their_coupons_though_workers_queue_cache_and_primary_die():
    names = " ".join(f'"{name}"' for name in CAMPAIGN_PLAN_SHORT)
    again = f"python -m tests.faults.running --seed {SEED} --campaign 100 --faults {names}"
    _promise_is_kept(again, SEED, 100, plan_of(SEED, CAMPAIGN_PLAN_SHORT, hold_s=_HOLD_S))


@pytest.mark.full
@pytest.mark.parametrize("cap", [100, 500])
@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
def test_the_first_have_their_coupons_under_many_faults_in_a_row(seed, cap):
    again = f"python -m tests.faults.running --seed {seed} --campaign {cap} --count {_FAULTS}"
    _promise_is_kept(again, seed, cap, plan_of(seed, CAMPAIGN_PLAN, count=_FAULTS))
