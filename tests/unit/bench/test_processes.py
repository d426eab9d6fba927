"""What a tree of processes used is read from /proc as the manual describes it."""

import os
import subprocess
import sys

import pytest
from bench.processes import (
    ThreadStat,
    Tree,
    below,
    busy_s,
    child_named,
    cores,
    cpu,
    machine,
    members,
    memory,
    own_s,
    parse_busy_s,
    parse_stat,
)


def test_a_name_with_blanks_and_brackets_shifts_no_field():
    """proc_pid_stat(5): 4 is the parent, 14 and 15 are the ticks in user and in kernel mode, 19 is the niceness."""
    fields = "S 41 42 42 0 -1 4194560 2 0 0 0 130 25 7 7 20 10 1 0 100 0 0"
    assert parse_stat(f"43 (post) gres (x) {fields}") == ThreadStat(43, "post) gres (x", 41, 155, 10)


def test_busy_is_all_but_idle_and_waiting_and_guests_count_once():
    """proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice, in ticks."""
    text = "cpu  100 20 30 9999 888 1 2 47 60 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
    assert parse_busy_s(text) == 200 / os.sysconf("SC_CLK_TCK")


def test_a_tree_is_what_is_under_its_processes_but_what_is_left_out():
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 13: 10, 20: 1, 21: 20}
    assert below(10, parents) == {10, 11, 12, 13}
    assert members(Tree(10, (11,)), parents) == {10, 13}
    assert members(Tree(21), parents) == {21}
    assert members(Tree(21, (13,), also=(10,)), parents) == {10, 11, 12, 21}


def test_our_own_use_only_grows():
    before = cpu(Tree(os.getpid()))
    after = cpu(Tree(os.getpid()))
    assert after.all_s >= before.all_s > 0
    assert 0 <= own_s() <= busy_s()


@pytest.mark.parametrize("niceness", [0, 1])
def test_what_gives_way_is_told_apart(niceness: int):
    """Hash threads are niced, so this is what tells their work from the rest of a login."""
    work = f"""
import os, time
os.nice({niceness})
while time.process_time() < 0.2: pass
print(flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = cpu(Tree(process.pid))
        process.communicate(b"\n")
    assert used.all_s >= 0.1
    assert used.niced_s == (used.all_s if niceness else 0.0)


def test_shared_memory_counts_once_and_is_never_more_than_what_each_sees():
    held = memory(Tree(os.getpid()))
    assert 0 < held.pss_mib <= held.rss_mib


def test_nobody_is_called_what_nobody_is_called():
    assert child_named(os.getpid(), "no such program") is None


def test_the_machine_is_described_without_its_name():
    found = machine()
    assert found["cores"] == cores() >= 1
    assert os.uname().nodename not in str(found)
