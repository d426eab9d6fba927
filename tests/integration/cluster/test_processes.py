"""A fault strikes a whole tree of processes, and no frozen one is left when whoever froze it is killed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until
from tidegate.cluster.processes import Frozen, kill, tree_of

TREE = "sleep 1000 & (sleep 1000 & sleep 1000 & wait) & wait"
FREEZES_AND_WAITS = """
import sys, time
from tidegate.cluster.processes import Frozen
frozen = Frozen(int(sys.argv[1]))
print(len(frozen.members), flush=True)
time.sleep(1000)
"""


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.fixture
def tree() -> Iterator["subprocess.Popen[bytes]"]:
    """A shell with children of its own and of a child."""
    with subprocess.Popen(["/bin/sh", "-c", TREE], process_group=0) as process:
        members = [process.pid]
        try:
            until(lambda: len(tree_of(process.pid)) == 5, "the tree does not grow")
            members = tree_of(process.pid)
            yield process
        finally:
            for pid in members:
                kill(pid)


def test_the_whole_tree_is_killed(tree: "subprocess.Popen[bytes]") -> None:
    members = tree_of(tree.pid)
    assert kill(tree.pid) == 5
    tree.wait(30)
    until(lambda: {state(pid) for pid in members} <= {"", "Z"}, "something of it lives")


def test_the_whole_tree_stands_still_until_it_is_let_go(tree: "subprocess.Popen[bytes]") -> None:
    members = tree_of(tree.pid)
    frozen = Frozen(tree.pid)
    assert sorted(frozen.members) == sorted(members)
    assert {state(pid) for pid in members} == {"T"}
    frozen.thaw()
    until(lambda: {state(pid) for pid in members} == {"S"}, "something of it still stands still")


def test_what_was_frozen_goes_on_when_whoever_froze_it_is_killed(tree: "subprocess.Popen[bytes]") -> None:
    """A stopped process hears of no other signal: the death of its parent would leave it there for ever."""
    members = tree_of(tree.pid)
    words = [sys.executable, "-c", FREEZES_AND_WAITS, str(tree.pid)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as freezing:
        assert freezing.stdout is not None
        assert freezing.stdout.readline() == b"5\n"
        assert {state(pid) for pid in members} == {"T"}
        freezing.kill()
    until(lambda: {state(pid) for pid in members} == {"S"}, "something of it still stands still")


def test_whoever_has_ended_has_no_tree() -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait(30)
    assert tree_of(ended.pid) == []
    assert kill(ended.pid) == 0
