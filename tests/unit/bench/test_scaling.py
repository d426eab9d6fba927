"""What a fleet is reckoned to need, from costs that are made up."""

import pytest
from bench.node import OURS
from bench.scaling.costs import Cost, Costs, Reading, cost_of
from bench.scaling.fleet import (
    LOOKS_PER_LOGIN,
    NODE_CORES,
    PRIMARY_BUSY,
    PRIMARY_CORES,
    REFRESHES_PER_LOGIN,
    fleet,
    most_on_one_primary,
)
from bench.scaling.pages import page

from tests.unit.bench.test_scenarios import a_stream, a_window

NOTHING = Cost(hash_ms=0, node_ms=0, primary_ms=0, wal_bytes=0, commits=0, cache_commands=0)
LOGIN = Cost(hash_ms=10, node_ms=0.5, primary_ms=0.4, wal_bytes=2_000, commits=0.5, cache_commands=1)
LOOK = Cost(hash_ms=0, node_ms=0.05, primary_ms=0, wal_bytes=0, commits=0, cache_commands=0)
REFRESH = Cost(hash_ms=0, node_ms=0.15, primary_ms=0.05, wal_bytes=200, commits=0.1, cache_commands=0)
COSTS = Costs(
    commit="abc",
    machine={"cores": 2, "cpu": "Some CPU", "kernel": "6.1", "python": "3.11"},
    calls={"login": LOGIN, "register": LOGIN, "refresh": REFRESH, "me": LOOK},
    user_bytes=400,
    session_bytes=300,
    node_mib=200,
)


def test_cores_are_those_of_the_hashes_and_of_what_comes_with_a_login():
    needed = fleet(COSTS, 1_000)
    assert needed.cores == pytest.approx((10 + 0.5 + LOOKS_PER_LOGIN * 0.05 + REFRESHES_PER_LOGIN * 0.15) / 0.8, abs=1)
    assert needed.nodes == -(-needed.cores // NODE_CORES) + 1


def test_what_one_primary_bears_is_what_a_fleet_of_one_primary_bears():
    most = most_on_one_primary(COSTS)
    assert fleet(COSTS, most * 0.99).primaries == 1
    assert fleet(COSTS, most * 1.01).primaries == 2


def test_the_scarcer_of_cpu_and_wal_fills_a_primary():
    assert fleet(COSTS, 1_000).limit == "CPU"
    wordy = Costs(**{name: getattr(COSTS, name) for name in Costs.__struct_fields__} | {"calls": _wordy()})
    assert fleet(wordy, 1_000).limit == "WAL"
    assert most_on_one_primary(wordy) < PRIMARY_CORES * PRIMARY_BUSY * 1_000 / LOGIN.primary_ms


def test_a_refresh_does_not_pay_for_the_logins_that_its_tokens_came_from():
    before = Reading(wal_bytes=0, commits=0, cache_commands=0, login=0, register=0, refresh=0)
    after = Reading(wal_bytes=2_000 * 10 + 200 * 50, commits=5 + 5, cache_commands=10, login=10, register=0, refresh=50)
    window = a_window(OURS, {"refresh": a_stream(40)})
    cost = cost_of("refresh", window, before, after, {"login": LOGIN})
    assert (cost.wal_bytes, cost.commits, cost.cache_commands) == (200, 0.1, 0)


def test_a_call_that_leaves_no_row_is_counted_by_its_answers():
    before = Reading(wal_bytes=0, commits=0, cache_commands=0, login=0, register=0, refresh=0)
    after = Reading(wal_bytes=0, commits=0, cache_commands=20, login=0, register=0, refresh=0)
    assert cost_of("me", a_window(OURS, {"me": a_stream(40)}), before, after, {}).cache_commands == pytest.approx(0.5)


def test_the_page_tells_each_rate_and_what_is_taken_for_granted():
    told = page(COSTS)
    assert "| logins/s | 1,000 | 10,000 | 100,000 |" in told
    assert f"one primary of {PRIMARY_CORES} cores is full at about **{most_on_one_primary(COSTS):,.0f} logins/s**" in told


def _wordy() -> dict[str, Cost]:
    fields = {name: getattr(LOGIN, name) for name in Cost.__struct_fields__}
    return COSTS.calls | {"login": Cost(**fields | {"wal_bytes": 10_000_000}), "me": NOTHING}
