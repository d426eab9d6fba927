"""More of a crowd never needs less of anything, and whoever is too few refuses exactly what is too much."""

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.calibration.samples import hashing
from tidegate.calibration.assumptions import LOAD_MAX, SHARE_OF_HASHING
from tidegate.calibration.capacity import NodeKind, Plan, Storm, plan, with_nodes
from tidegate.calibration.figures import Hashing


def node_of(cores: int, hashed: Hashing, *, processes: int = 2) -> NodeKind:
    return NodeKind(cores=cores, hashing=hashed, processes=processes, connections_per_process=9)


SPEEDS = st.floats(0.5, 5_000)
STORMS = st.builds(Storm, users=st.integers(1, 10**9), within_s=st.floats(1, 86_400))
NODES = st.builds(
    lambda cores, per_core: node_of(cores, hashing(per_core * 2)),
    st.integers(1, 256),
    SPEEDS,
)
NEEDS = ("cores", "nodes", "memory_bytes", "max_connections", "primary_cores")


def planned(storm: Storm, node: NodeKind) -> Plan:
    return plan(storm, node, profile="owasp-19456", is_from_file=False)


def needs(storm: Storm, node: NodeKind) -> list[int]:
    made = planned(storm, node)
    return [getattr(made, name) for name in NEEDS]


def test_the_storm_that_tidegate_is_for() -> None:
    """100,000 in a minute, 100 hashes/s a core: 1,667 / (100 x 0.93 x 0.9) cores, by hand."""
    made = planned(Storm(users=100_000, within_s=60), node_of(8, hashing(200.0, in_turn=2), processes=3))
    assert made.logins_per_s == pytest.approx(1_666.7, abs=0.1)
    assert (made.cores, made.nodes, made.nodes_with_spare) == (20, 3, 4)
    assert made.processes_per_node == 3
    assert made.connections_per_node == 27
    assert made.max_connections == 27 * 4 + 20
    assert made.hash_memory_bytes_per_node == 8 * 2 * 19_456 * 1_024
    assert made.memory_bytes_per_node == made.hash_memory_bytes_per_node + 3 * (100 << 20)
    assert made.primary_cores == 2
    assert [each.nodes for each in made.undersized] == [1, 2, 3]
    one = made.undersized[0]
    assert one.logins_per_s == pytest.approx(744)
    assert one.refused_share == pytest.approx(1 - 744 / 1_666.7, abs=1e-4)
    assert one.all_in_after_s == pytest.approx(100_000 / 744)


@settings(deadline=None)
@given(STORMS, st.integers(0, 10**9), NODES)
def test_more_users_never_need_less(storm: Storm, more: int, node: NodeKind) -> None:
    bigger = dataclasses.replace(storm, users=storm.users + more)
    assert all(many >= few for few, many in zip(needs(storm, node), needs(bigger, node), strict=True))


@settings(deadline=None)
@given(STORMS, st.floats(0, 86_400), NODES)
def test_more_time_never_needs_more(storm: Storm, longer_s: float, node: NodeKind) -> None:
    slower = dataclasses.replace(storm, within_s=storm.within_s + longer_s)
    assert all(calm <= rush for rush, calm in zip(needs(storm, node), needs(slower, node), strict=True))


@settings(deadline=None)
@given(STORMS, st.integers(1, 256), SPEEDS, st.floats(1, 10))
def test_faster_cores_never_need_to_be_more(storm: Storm, cores: int, per_s: float, faster: float) -> None:
    slow, fast = (node_of(cores, hashing(each)) for each in (per_s, per_s * faster))
    assert planned(storm, fast).cores <= planned(storm, slow).cores
    assert planned(storm, fast).nodes <= planned(storm, slow).nodes


@settings(deadline=None)
@given(STORMS, NODES)
def test_the_nodes_that_are_planned_have_the_cores_and_refuse_nobody(storm: Storm, node: NodeKind) -> None:
    made = planned(storm, node)
    assert made.nodes * node.cores >= made.cores > (made.nodes - 1) * node.cores
    enough = made.undersized[-1]
    assert enough.nodes == made.nodes
    assert enough.refused_share == 0
    assert enough.all_in_after_s == storm.within_s
    assert enough.logins_per_s * LOAD_MAX >= storm.logins_per_s * (1 - 1e-9)


@settings(deadline=None)
@given(STORMS, NODES, st.integers(1, 1_000))
def test_a_node_more_never_refuses_more(storm: Storm, node: NodeKind, nodes: int) -> None:
    few, many = with_nodes(storm, node, nodes), with_nodes(storm, node, nodes + 1)
    assert 0 <= many.refused_share <= few.refused_share < 1
    assert storm.within_s <= many.all_in_after_s <= few.all_in_after_s


@settings(deadline=None)
@given(STORMS, NODES, st.integers(1, 1_000))
def test_who_is_served_and_who_is_refused_are_all(storm: Storm, node: NodeKind, nodes: int) -> None:
    less = with_nodes(storm, node, nodes)
    served = min(storm.users, less.logins_per_s * storm.within_s)
    assert served + less.refused_share * storm.users == pytest.approx(storm.users)


@settings(deadline=None)
@given(STORMS, NODES, st.booleans())
def test_every_number_that_is_taken_for_granted_is_told_with_its_source(
    storm: Storm, node: NodeKind, is_from_file: bool
) -> None:
    made = plan(storm, node, profile="owasp-19456", is_from_file=is_from_file)
    assert all(each.text and each.source for each in made.assumptions)
    told = " ".join(each.text for each in made.assumptions)
    for number in (SHARE_OF_HASHING, LOAD_MAX):
        assert f"{number:.2f}" in told
    measured = made.assumptions[0]
    assert f"{node.hashing.hashes_per_s_per_core:.1f} hashes/s" in measured.text
    assert ("--measured" in measured.source) is is_from_file


def test_figures_of_a_busy_machine_are_told_to_be_so() -> None:
    storm = Storm(users=1_000, within_s=60)
    quiet, busy = (
        plan(
            storm,
            node_of(2, hashing(80, cpu_share=share)),
            profile="x",
            is_from_file=True,
        )
        for share in (0.9, 0.4)
    )
    assert quiet.assumptions[0].source == "the file of --measured"
    assert "left 40% of the CPU time" in busy.assumptions[0].source
    assert "10.0 ms, a core would make 100" in busy.assumptions[0].source


@settings(deadline=None)
@given(STORMS, NODES)
def test_fewer_nodes_are_told_once_each_and_in_order(storm: Storm, node: NodeKind) -> None:
    made = planned(storm, node)
    told = [each.nodes for each in made.undersized]
    assert told == sorted(set(told))
    assert told[0] == 1
    assert told[-1] == made.nodes
    assert math.ceil(made.nodes / 2) in told
