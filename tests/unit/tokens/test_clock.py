"""Tokens go by the node's clock while it agrees with the primary's, and else by the primary's, without jumping about."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.tokens.conftest import START, HandClock
from tidegate.tokens.clock import AGREES_S_MAX, OFF_S_MAX, CheckedClock
from tidegate.tokens.verifier import LEEWAY_S_MAX

HIDDEN_S = 0.5
"""What a slow answer may hide, by the words of `OFF_S_MAX`."""


@dataclass
class Machine:
    """A node and a primary, whose clocks the test sets."""

    boot: HandClock = field(default_factory=lambda: HandClock(1_000.0))
    off_s: float = 0.0
    primary_off_s: float = 0.0

    def __post_init__(self) -> None:
        self.clock = CheckedClock(wall=self.wall, monotonic=self.boot)

    @property
    def true(self) -> float:
        return START + self.boot.time

    def wall(self) -> float:
        return self.true + self.off_s

    def check(self, *, there_s: float = 0.0005, back_s: float = 0.0005) -> None:
        async def ask() -> float:
            self.boot.time += there_s
            shown = self.true + self.primary_off_s
            self.boot.time += back_s
            return shown

        asyncio.run(self.clock.check(ask))

    @property
    def error_s(self) -> float:
        """How far what tokens go by is from the primary's clock."""
        return self.clock.now() - self.true - self.primary_off_s


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_two_nodes_that_go_by_their_own_clocks_are_within_the_leeway():
    assert 2 * (OFF_S_MAX + HIDDEN_S) <= LEEWAY_S_MAX
    assert AGREES_S_MAX < OFF_S_MAX


def test_before_the_first_check_it_is_our_clock():
    machine = Machine(off_s=3600)
    assert machine.clock.now() == machine.wall()
    machine.boot.time += 10
    assert machine.clock.now() == machine.wall()
    assert not machine.clock.is_corrected


@pytest.mark.parametrize("off_s", [0.0, 0.3, -0.3, 1.9, -1.9])
def test_a_clock_that_agrees_is_gone_by_and_noise_moves_nothing(machine: Machine, off_s: float):
    machine.off_s = off_s
    for there_s, back_s in [(0.001, 0.001), (0.0, 0.4), (0.4, 0.0), (0.2, 3.0)]:
        machine.check(there_s=there_s, back_s=back_s)
        assert machine.clock.now() == pytest.approx(machine.wall())
        assert not machine.clock.is_corrected


@pytest.mark.parametrize("off_s", [3600.0, -3600.0, 2.1, -2.1])
def test_a_clock_that_is_wrong_is_corrected(off_s: float):
    machine = Machine(off_s=off_s)
    machine.check()
    assert machine.clock.is_corrected
    assert machine.clock.off_s == pytest.approx(off_s, abs=0.001)
    assert machine.error_s == pytest.approx(0, abs=0.001)


def test_our_clock_may_jump_between_two_checks_and_no_token_sees_it(machine: Machine):
    machine.check()
    for off_s in (3600.0, -3600.0):
        machine.off_s = off_s
        for _ in range(2):
            assert machine.error_s == pytest.approx(0, abs=0.001)
            machine.check()
        assert machine.clock.is_corrected
        assert machine.clock.off_s == pytest.approx(off_s, abs=0.001)


def test_a_clock_that_was_set_right_is_gone_by_again(machine: Machine):
    machine.off_s = 3600
    machine.check()
    machine.off_s = 0.2
    machine.check()
    assert not machine.clock.is_corrected
    assert machine.clock.now() == machine.wall()


def test_a_clock_near_the_bound_does_not_flap(machine: Machine):
    changes = []
    for off_s in (1.9, 2.1, 1.9, 2.1, 1.1, 1.9, 0.9, 1.9):
        machine.off_s = off_s
        machine.check()
        changes.append(machine.clock.is_corrected)
    assert changes == [False, True, True, True, True, True, False, False]


SLOW = pytest.mark.parametrize(("there_s", "back_s"), [(30.0, 0.0), (0.0, 30.0)])


@SLOW
def test_a_slow_answer_shows_no_clock_wrong_that_is_right(machine: Machine, there_s: float, back_s: float):
    machine.check(there_s=there_s, back_s=back_s)
    assert not machine.clock.is_corrected


@SLOW
def test_a_slow_answer_shows_no_clock_right_that_was_wrong(machine: Machine, there_s: float, back_s: float):
    machine.off_s = 3600
    machine.check()
    machine.off_s = 0
    machine.check(there_s=there_s, back_s=back_s)
    assert machine.clock.is_corrected


@SLOW
def test_a_slow_answer_takes_nothing_from_what_was_known_better(machine: Machine, there_s: float, back_s: float):
    machine.off_s = 3600
    machine.check()
    error_s = machine.error_s
    machine.check(there_s=there_s, back_s=back_s)
    assert machine.error_s == pytest.approx(error_s)


@pytest.mark.parametrize("off_s", [3600.0, -3600.0])
def test_a_slow_answer_is_enough_for_a_clock_that_is_very_wrong(machine: Machine, off_s: float):
    machine.off_s = off_s
    machine.check(there_s=0.0, back_s=4.0)
    assert machine.clock.is_corrected
    assert abs(machine.error_s) <= 2.0
    machine.check()
    assert machine.error_s == pytest.approx(0, abs=0.001)


def test_while_nobody_answers_what_was_known_stands(machine: Machine):
    machine.off_s = 3600
    machine.check()

    async def fail() -> float:
        raise ConnectionError

    for off_s in (3600.0, 0.0, -3600.0):
        machine.off_s = off_s
        machine.boot.time += 600
        with pytest.raises(ConnectionError):
            asyncio.run(machine.clock.check(fail))
        assert machine.clock.is_corrected
        assert machine.error_s == pytest.approx(0, abs=0.001)


def test_nodes_follow_a_primary_whose_clock_is_set_or_is_another(machine: Machine):
    machine.check()
    for primary_off_s in (-3600.0, 10.0, 0.0):
        machine.primary_off_s = primary_off_s
        machine.check()
        assert machine.error_s == pytest.approx(0, abs=0.001)
    assert not machine.clock.is_corrected


@given(
    checks=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.5, 1.5, 1.99, 2.5, -1.5, -2.5, 3600.0, -3600.0]),
            st.floats(0, 5),
            st.floats(0, 5),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_happens_tokens_are_never_further_off_than_our_clock_may_be_and_a_round_trip_hides(
    checks: list[tuple[float, float, float]],
):
    machine = Machine()
    for off_s, there_s, back_s in checks:
        machine.off_s = off_s
        machine.check(there_s=there_s, back_s=back_s)
        assert abs(machine.error_s) <= OFF_S_MAX + there_s + back_s + 0.001
        if not machine.clock.is_corrected:
            assert machine.clock.now() == pytest.approx(machine.wall())
