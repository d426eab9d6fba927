"""Each limit of a machine is told with its price and its remedy, and a good machine gets no warnings."""

import dataclasses
import resource

import pytest

from tidegate.diagnosis.findings import Finding, Matter, Verdict
from tidegate.diagnosis.machine import (
    Node,
    accept_queue,
    clock,
    cores,
    examine_machine,
    hash_engine,
    huge_pages,
    memory,
    open_files,
)
from tidegate.passwords.engine import ENGINE, EngineChoice

NODE = Node(cores=4, memory_bytes=8 << 30, processes=2, hash_threads=4, hash_profile="owasp-19456", backlog=4_096)
HASH_KIB = 4 * ENGINE.in_turn_max * 19_456


def assert_warns(finding: Finding, *words: str) -> None:
    """With the words, and something to do."""
    assert finding.verdict is Verdict.WARNING
    assert finding.advice
    for word in words:
        assert word in f"{finding.says} {finding.advice}"


def test_the_fast_engine_is_told_with_what_the_cpu_can_run() -> None:
    finding = hash_engine(EngineChoice("tidegate (avx2)", ("avx2", "sse2", "reference"), None))
    assert finding.verdict is Verdict.OK
    assert "tidegate (avx2)" in finding.says
    assert "avx2, sse2, reference" in finding.says


def test_the_stock_engine_is_told_with_the_reason_the_price_and_the_remedy() -> None:
    why = "the extension cannot be loaded: No module named 'tidegate.passwords._argon2'"
    assert_warns(hash_engine(EngineChoice("argon2-cffi", (), why)), "argon2-cffi", why, "0.39", "gcc")


def test_an_engine_that_hashes_wrongly_is_wrong() -> None:
    choice = EngineChoice("argon2-cffi", ("avx2",), "the extension makes other digests than argon2-cffi")
    assert hash_engine(choice).verdict is Verdict.WRONG


def test_a_thread_for_each_core_is_right() -> None:
    finding = cores(NODE)
    assert finding.verdict is Verdict.OK
    assert "4 usable" in finding.says


@pytest.mark.parametrize(("threads", "word"), [(3, "1 of the cores never hash"), (5, "more threads than cores")])
def test_another_number_of_threads_is_told(threads: int, word: str) -> None:
    assert_warns(cores(dataclasses.replace(NODE, hash_threads=threads)), word, "TIDEGATE_HASH_THREADS=0")


def test_cores_that_a_quota_takes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert "4 usable of the machine's 64" in cores(NODE).says


def test_memory_that_is_taken_is_told() -> None:
    assert memory(NODE, f"MemTotal: 9 kB\nMemAvailable:   {HASH_KIB} kB\n").verdict is Verdict.OK
    assert_warns(memory(NODE, f"MemAvailable: {HASH_KIB - 1} kB\n"), f"{HASH_KIB >> 10} of it for hashing", "free memory")
    assert memory(NODE, "").verdict is Verdict.OK


def test_a_profile_of_several_lanes_is_not_computed_two_in_turn() -> None:
    node = dataclasses.replace(NODE, hash_profile="rfc9106-65536")
    assert node.hash_bytes == 4 * 65_536 * 1_024


@pytest.mark.parametrize("enabled", ["[always] madvise never", "always [madvise] never"])
def test_huge_pages_for_who_asks_are_enough(enabled: str) -> None:
    assert huge_pages(enabled).verdict is Verdict.OK


@pytest.mark.parametrize("enabled", ["always madvise [never]", ""])
def test_want_of_huge_pages_is_told(enabled: str) -> None:
    assert_warns(huge_pages(enabled), "2 to 5 % longer", "/sys/kernel/mm/transparent_hugepage/enabled")


def test_few_open_files_are_told() -> None:
    assert open_files(10_000, 10_000).verdict is Verdict.OK
    assert open_files(resource.RLIM_INFINITY, resource.RLIM_INFINITY).verdict is Verdict.OK
    assert_warns(open_files(1_024, 1_048_576), "1,024 a process:", "LimitNOFILE")
    assert_warns(open_files(1_024, 4_096), "at most 4,096 without root")


def test_a_short_accept_queue_is_told() -> None:
    assert accept_queue("4096", wanted=4_096).verdict is Verdict.OK
    assert accept_queue("", wanted=4_096).verdict is Verdict.OK
    assert_warns(accept_queue("128", wanted=4_096), "128 connections", "net.core.somaxconn=4096")


def test_a_clock_that_nobody_keeps_is_told() -> None:
    assert clock(is_kept=True).verdict is Verdict.OK
    assert clock(is_kept=None).verdict is Verdict.OK
    assert_warns(clock(is_kept=False), "nothing keeps it", "chrony")


def test_this_machine_is_examined_whatever_it_is(tmp_path) -> None:
    """Also where there is neither /proc nor /sys."""
    for findings in (examine_machine(NODE), examine_machine(NODE, root=tmp_path)):
        assert [each.matter for each in findings] == [
            Matter.HASHING,
            Matter.CORES,
            Matter.MEMORY,
            Matter.HUGE_PAGES,
            Matter.OPEN_FILES,
            Matter.BACKLOG,
            Matter.CLOCK,
        ]
        assert all(bool(each.advice) is (each.verdict is not Verdict.OK) for each in findings)
