"""A container's limits count, not the machine's."""

from pathlib import Path

from tidegate.settings_node import usable_cores, usable_memory_bytes


def test_a_quota_of_cores_is_kept(tmp_path: Path) -> None:
    unlimited = usable_cores(cgroup=tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(cgroup=tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cores(cgroup=tmp_path) == unlimited >= 1


def test_a_limit_of_memory_is_kept(tmp_path: Path) -> None:
    unlimited = usable_memory_bytes(cgroup=tmp_path)
    (tmp_path / "memory.max").write_text("1048576\n")
    assert usable_memory_bytes(cgroup=tmp_path) == 1_048_576
    (tmp_path / "memory.max").write_text("max\n")
    assert usable_memory_bytes(cgroup=tmp_path) == unlimited > 1_048_576
