"""What a tree of processes used is read from /proc as the manual describes it."""

import os

from bench.processes import CpuUse, below, cores, machine, parse_busy_s, parse_stat


def test_a_name_with_blanks_and_brackets_shifts_no_field():
    """proc_pid_stat(5): 4 is the parent, 14 and 15 are the ticks in user and in kernel mode."""
    fields = "S 41 42 42 0 -1 4194560 2 0 0 0 130 25 7 7 20 0 1 0 100 0 0"
    assert parse_stat(f"43 (post) gres (x) {fields}") == (43, "post) gres (x", 41, 155)


def test_busy_is_all_but_idle_and_waiting_and_guests_count_once():
    """proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice, in ticks."""
    text = "cpu  100 20 30 9999 888 1 2 47 60 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
    assert parse_busy_s(text) == 200 / os.sysconf("SC_CLK_TCK")


def test_a_tree_is_a_process_and_all_under_it():
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 13: 10, 20: 1, 21: 20}
    assert below(10, parents) == {10, 11, 12, 13}
    assert below(21, parents) == {21}


def test_our_own_use_only_grows():
    use = CpuUse(os.getpid())
    before = use.seconds()
    assert before.keys() == {"tidegate", "postgres"}
    assert sum(use.seconds().values()) >= sum(before.values()) > 0


def test_the_machine_is_described_without_its_name():
    found = machine()
    assert found["cores"] == cores() >= 1
    assert os.uname().nodename not in str(found)
