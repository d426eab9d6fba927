"""Profiles take turns, figures are of whole hashes, and a thread that fails leaves no other waiting."""

import itertools
import threading
from collections.abc import Sequence

import pytest

from tests.unit.calibration.samples import figures
from tidegate.calibration import measuring
from tidegate.calibration.calibrating import cpu_name
from tidegate.calibration.measuring import Way, measure, percentile, too_big, ways_of
from tidegate.passwords.engine import ENGINE, Argon2Cost, Argon2Input
from tidegate.passwords.profiles import OWASP_7168, OWASP_19456, RFC9106_65536, HashProfile

SMALL = HashProfile("owasp-7168", memory_cost_kib=64, time_cost=1)
OTHER = HashProfile("owasp-9216", memory_cost_kib=128, time_cost=2)


class Recording:
    """An engine that computes nothing and remembers what it was asked, in order."""

    name = "recording"

    def __init__(self, in_turn_max: int = 2, fails_in: int = 0) -> None:
        """The thread that is the *fails_in*-th to begin has no memory, from 1."""
        self.in_turn_max = in_turn_max
        self.asked: list[tuple[int, int]] = []
        self.kept = 0
        self._begun = 0
        self._fails_in = fails_in
        self._lock = threading.Lock()
        self._thread = threading.local()

    def digests(self, cost: Argon2Cost, inputs: Sequence[Argon2Input]) -> Sequence[bytes]:
        with self._lock:
            self.asked.append((cost.memory_cost_kib, len(inputs)))
        if self._thread.number == self._fails_in:
            raise MemoryError
        return [bytes(each.digest_len) for each in inputs]

    def keep(self, memory_cost_kib: int) -> None:
        with self._lock:
            self.kept += 1
            self._begun += 1
            self._thread.number = self._begun

    def release(self) -> None:
        with self._lock:
            self.kept -= 1


def turns(engine: Recording) -> list[tuple[int, int]]:
    """What was asked, without repetition."""
    return [one for one, before in zip(engine.asked, [None, *engine.asked], strict=False) if one != before]


def test_every_profile_has_its_turn_in_every_round() -> None:
    """Or a busy minute would make one of them look slow."""
    engine = Recording()
    measure([SMALL, OTHER], engine, cores=1, seconds=0.01, rounds=3)
    assert turns(engine) == [(64, 1), (64, 2), (128, 1), (128, 2)] * 3


def test_the_real_engine_is_measured() -> None:
    shares: list[float] = []
    measured = measure([SMALL, OTHER], ENGINE, cores=2, seconds=0.2, rounds=3, on_progress=shares.append)
    assert [each.name for each in measured.profiles] == ["owasp-7168", "owasp-9216"]
    for each in measured.profiles:
        assert each.one_thread.threads == 1
        assert each.one_at_a_time.threads == 2
        assert (each.two_in_turn is not None) is (ENGINE.in_turn_max > 1)
        for hashing in filter(None, (each.one_thread, each.one_at_a_time, each.two_in_turn)):
            assert hashing.hashes_per_s_per_core == hashing.hashes_per_s / hashing.threads
            assert 0 < hashing.latency_ms_median <= hashing.latency_ms_p95
            assert hashing.memory_bytes_per_thread == each.memory_cost_kib * 1_024 * hashing.in_turn
            assert hashing.memory_bytes == hashing.memory_bytes_per_thread * hashing.threads
    assert 0 < measured.cpu_share <= 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_whole_hashes_are_counted_and_divided_by_the_time_of_their_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that ticks a second when it is looked at, and five of the CPU's: ten calls in ten seconds."""
    ticks, cpu_ticks = itertools.count(), itertools.count(step=5)
    monkeypatch.setattr(measuring, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(measuring, "thread_time", lambda: float(next(cpu_ticks)))
    (profile,), cpu_share = measure([SMALL], Recording(), cores=1, seconds=60, rounds=3)
    two = profile.two_in_turn
    assert two is not None
    for hashing, in_turn in ((profile.one_at_a_time, 1), (two, 2)):
        assert hashing.hashes_per_s == hashing.hashes_per_s_per_core == in_turn
        assert hashing.latency_ms_median == hashing.latency_ms_p95 == 1_000
        assert hashing.cpu_ms_each == 500 / in_turn
        assert hashing.cpu_share == 0.5
    assert cpu_share == 0.5


def test_memory_is_given_back() -> None:
    engine = Recording()
    measure([SMALL], engine, cores=2, seconds=0.01, rounds=1)
    assert engine.kept == 0


@pytest.mark.parametrize("fails_in", [1, 2, 5, 6, 9])
def test_want_of_memory_in_one_thread_is_told_and_no_other_waits_for_it(fails_in: int) -> None:
    """The first slice has one thread, the next two have four each."""
    engine = Recording(fails_in=fails_in)
    with pytest.raises(MemoryError):
        measure([SMALL], engine, cores=4, seconds=0.03, rounds=1)
    assert engine.kept == 0


def test_a_slice_that_is_shorter_than_a_hash_still_has_one() -> None:
    measured = measure([SMALL], ENGINE, cores=1, seconds=1e-9, rounds=1)
    assert measured.profiles[0].hashes_per_s > 0


def test_two_in_turn_only_where_the_engine_and_the_profile_allow_it() -> None:
    assert ways_of(OWASP_19456, Recording(), cores=4) == (Way(1, 1), Way(4, 1), Way(4, 2))
    assert ways_of(RFC9106_65536, Recording(), cores=4) == (Way(1, 1), Way(4, 1))
    assert ways_of(OWASP_19456, Recording(in_turn_max=1), cores=1) == (Way(1, 1),)


def test_a_profile_that_needs_more_than_half_of_the_memory_is_left_out() -> None:
    needed_bytes = 4 * 2 * 19_456 * 1_024
    profiles = [OWASP_19456, OWASP_7168]
    assert too_big(profiles, Recording(), cores=4, memory_bytes=needed_bytes * 2) == {}
    left_out = too_big(profiles, Recording(), cores=4, memory_bytes=needed_bytes * 2 - 1)
    assert list(left_out) == ["owasp-19456"]
    assert "4 threads need 152 MiB" in left_out["owasp-19456"]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 3), (0.8, 4), (0.81, 5), (1.0, 5)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([5, 3, 1, 4, 2], share) == expected


def test_a_storm_is_served_two_in_turn_where_that_can_be() -> None:
    both, alone = figures("owasp-19456", 200), figures("rfc9106-65536", 30, has_two_in_turn=False)
    assert both.in_a_storm is both.two_in_turn
    assert both.hashes_per_s == 200
    assert alone.in_a_storm is alone.one_at_a_time


def test_the_cpu_is_called_as_its_maker_does(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Z80 @ 4 MHz\nprocessor\t: 1\nmodel name\t: other\n")
    assert cpu_name(cpuinfo) == "Z80 @ 4 MHz"
    assert cpu_name(tmp_path / "none")
