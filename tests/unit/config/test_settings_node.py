"""The limits of a container or a service count, not the machine's."""

from pathlib import Path

import pytest

from tidegate.settings_node import share_of, usable_cores, usable_memory_bytes


class Machine:
    """A folder that stands for the control groups, and a file that says in which of them we are."""

    def __init__(self, folder: Path) -> None:
        self.cgroups = folder / "cgroup"
        self.own_cgroup = folder / "self"
        self.cgroups.mkdir()

    def is_in(self, line: str) -> None:
        self.own_cgroup.write_text(line + "\n")

    def limits(self, path: str, text: str) -> None:
        file = self.cgroups / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def cores(self) -> int:
        return usable_cores(cgroups=self.cgroups, own_cgroup=self.own_cgroup)

    def memory_bytes(self) -> int:
        return usable_memory_bytes(cgroups=self.cgroups, own_cgroup=self.own_cgroup)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """It has eight cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))
    return Machine(tmp_path)


def test_without_a_quota_the_cores_are_those_that_the_process_may_run_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.cores() == 8
    machine.limits("cpu.max", "max 100000")
    assert machine.cores() == 8
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 5})
    assert machine.cores() == 2


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("100000", 1), ("350000", 3), ("1600000", 8)])
def test_a_quota_counts_in_whole_cores(machine: Machine, quota: str, cores: int) -> None:
    machine.limits("cpu.max", f"{quota} 100000")  # in a container the root is its own
    assert machine.cores() == cores


def test_a_service_is_limited_by_its_own_group_and_by_those_around_it(machine: Machine) -> None:
    machine.is_in("0::/system.slice/tidegate.service")
    machine.limits("other.slice/cpu.max", "100000 100000")
    assert machine.cores() == 8
    machine.limits("system.slice/tidegate.service/cpu.max", "400000 100000")
    assert machine.cores() == 4
    machine.limits("system.slice/cpu.max", "200000 100000")
    assert machine.cores() == 2
    machine.limits("cpu.max", "100000 100000")
    assert machine.cores() == 1


def test_a_group_that_is_not_there_limits_nothing(machine: Machine) -> None:
    """A container that is told its path on the host, and groups of version 1."""
    machine.is_in("12:cpu:/docker/1\n0::/../../docker/1")
    machine.limits("cpu.max", "300000 100000")
    assert machine.cores() == 3
    machine.is_in("12:cpu:/docker/1")
    assert machine.cores() == 3


def test_memory_is_the_machines_or_the_groups(machine: Machine) -> None:
    machine.is_in("0::/a/b")
    unlimited = machine.memory_bytes()
    machine.limits("memory.max", "max")
    assert machine.memory_bytes() == unlimited > 1_048_576
    machine.limits("a/memory.max", "1048576")
    machine.limits("a/b/memory.max", "2097152")
    assert machine.memory_bytes() == 1_048_576


def test_what_is_shared_out_is_shared_out_whole() -> None:
    assert [share_of(7, of=3, number=number) for number in (1, 2, 3)] == [3, 2, 2]
    assert [share_of(1, of=3, number=number) for number in (1, 2, 3)] == [1, 0, 0]
