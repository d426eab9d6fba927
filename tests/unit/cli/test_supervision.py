"""A child that dies is started again, ever later, and one that gives up at once ends the command."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tidegate.cli import supervision
from tidegate.cli.exits import CommandFailed
from tidegate.cli.supervision import Child, Signals, tend_all
from tidegate.embedded.children import StopStep


class Hand:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hand:
    hand = Hand()
    monkeypatch.setattr(supervision, "time", hand)
    return hand


class Fake:
    """A process that ends when the test says so."""

    pid = 1

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.signals: list[signal.Signals] = []

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        self.returncode = -number

    def wait(self, _timeout_s: float | None = None) -> int | None:
        return self.returncode


class Program:
    """What is started, and how often."""

    def __init__(self) -> None:
        self.started: list[Fake] = []
        self.dead: list[int] = []
        self.child = Child("the program", self.start, [StopStep(signal.SIGTERM, 1)], on_death=self.dead.append)

    def start(self) -> subprocess.Popen[bytes]:
        self.started.append(Fake())
        return self.started[-1]  # type: ignore[return-value] # as much of a process as is asked of it

    def end(self, returncode: int) -> None:
        self.started[-1].returncode = returncode


@pytest.fixture
def program() -> Program:
    return Program()


def test_a_child_that_lives_is_left_alone(clock: Hand, program: Program) -> None:
    assert program.child.tend() is None
    clock.now += 1000
    assert program.child.tend() is None
    assert len(program.started) == 1


def test_a_child_that_was_killed_is_started_again_after_a_pause(clock: Hand, program: Program) -> None:
    program.child.tend()
    program.end(-signal.SIGKILL)
    pause = program.child.tend()
    assert pause == pytest.approx(0.2)
    assert len(program.started) == 1
    assert program.dead == [1]
    clock.now += 0.2
    assert program.child.tend() is None
    assert len(program.started) == 2


def test_the_pause_doubles_up_to_its_bound_and_begins_anew_after_a_steady_life(clock: Hand, program: Program) -> None:
    pauses = []
    program.child.tend()
    for _ in range(12):
        program.end(-signal.SIGSEGV)
        pause = program.child.tend()
        assert pause is not None
        pauses.append(pause)
        clock.now += pause
        program.child.tend()
    assert pauses[:3] == pytest.approx([0.2, 0.4, 0.8])
    assert pauses[-1] == pytest.approx(30.0)
    clock.now += 61
    program.end(-signal.SIGSEGV)
    assert program.child.tend() == pytest.approx(0.2)


def test_a_child_that_gives_up_at_its_first_start_ends_the_command_with_its_code(clock: Hand, program: Program) -> None:
    """Wrong settings do not become right by trying again."""
    program.child.tend()
    clock.now += 9
    program.end(78)
    with pytest.raises(CommandFailed) as failed:
        program.child.tend()
    assert failed.value.code == 78


def test_a_child_that_lacks_something_for_a_moment_is_started_again(clock: Hand, program: Program) -> None:
    """The database died while the worker was starting."""
    program.child.tend()
    program.end(69)
    assert program.child.tend() == pytest.approx(0.2)


def test_a_child_that_gives_up_later_is_started_again(clock: Hand, program: Program) -> None:
    """It could start, and so it can again when what changed since is put right."""
    program.child.tend()
    clock.now += 11
    program.end(78)
    assert program.child.tend() == pytest.approx(0.2)


def test_a_second_child_that_gives_up_at_once_is_started_again(clock: Hand, program: Program) -> None:
    program.child.tend()
    program.end(-signal.SIGKILL)
    program.child.tend()
    clock.now += 1
    program.child.tend()
    program.end(78)
    assert program.child.tend() is not None


class TestStuck:
    """One that lives and is of no use: PostgreSQL without its recovery, say."""

    @pytest.fixture
    def told(self, program: Program) -> list[str]:
        told: list[str] = []
        program.child.tell = told.append
        return told

    def test_it_is_ended_and_started_again_and_that_is_said(self, clock: Hand, program: Program, told: list[str]) -> None:
        is_stuck = False
        program.child.is_stuck = lambda: is_stuck
        for _ in range(3):
            assert program.child.tend() == pytest.approx(2.0)
            clock.now += 2.0
        assert (len(program.started), told) == (1, [])
        is_stuck = True
        assert program.child.tend() == pytest.approx(0.2)
        assert program.started[0].signals == [signal.SIGTERM]
        assert told[0] == "tidegate: the program lives, but neither serves nor recovers any more; ending it"
        is_stuck = False
        clock.now += 10
        assert program.child.tend() == pytest.approx(2.0)  # nobody can wait for less than no time
        assert (len(program.started), program.child.deaths) == (2, 1)

    def test_it_is_looked_at_now_and_then_however_often_it_is_tended(self, clock: Hand, program: Program) -> None:
        looks = []

        def look() -> bool:
            looks.append(clock.now)
            return False

        program.child.is_stuck = look
        for _ in range(100):
            program.child.tend()
            clock.now += 0.05
        assert 2 <= len(looks) <= 4

    def test_one_that_has_just_died_is_not_ended_again(self, clock: Hand, program: Program, told: list[str]) -> None:
        program.child.is_stuck = lambda: True
        program.child.tend()
        program.end(-signal.SIGKILL)
        clock.now += 5
        program.child.tend()
        assert [line for line in told if "lives" in line] == []


class HinderedError(Exception):
    """What a server raises that cannot start now."""


def test_a_later_start_that_fails_for_a_passing_reason_is_tried_again(clock: Hand, program: Program) -> None:
    """A replica cannot start while its primary is frozen; whoever looks after both must live on."""
    started, told = program.child.start, list[str]()
    program.child.passing = (HinderedError,)
    program.child.tell = told.append

    def hindered() -> "subprocess.Popen[bytes]":
        raise HinderedError("the primary is away")

    program.child.tend()
    program.end(-signal.SIGKILL)
    program.child.tend()
    program.child.start = hindered
    clock.now += 0.2
    assert program.child.tend() == pytest.approx(0.4)
    assert told[-1].endswith(" could not be started: the primary is away; starting it again in 0.4 s")
    program.child.start = started
    clock.now += 0.4
    assert program.child.tend() is None


def test_a_later_start_for_which_the_machine_has_no_room_is_tried_again(clock: Hand, program: Program) -> None:
    """What ended the child, a lack of memory, may keep the next from being born; all others must live on."""
    started, told = program.child.start, list[str]()
    program.child.tell = told.append

    def hindered() -> "subprocess.Popen[bytes]":
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    program.child.tend()
    program.end(-signal.SIGKILL)
    program.child.tend()
    program.child.start = hindered
    clock.now += 0.2
    assert program.child.tend() == pytest.approx(0.4)
    assert "could not be started" in told[-1]
    program.child.start = started
    clock.now += 0.4
    assert program.child.tend() is None


def test_a_first_start_that_fails_ends_the_command(clock: Hand, program: Program) -> None:
    program.child.passing = (HinderedError,)

    def hindered() -> "subprocess.Popen[bytes]":
        raise HinderedError

    program.child.start = hindered
    with pytest.raises(HinderedError):
        program.child.tend()


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    signals = Signals()
    with signals.caught():
        yield signals
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_stop_wakes_whoever_waits(signals: Signals, number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    signals.wait(None)
    assert signals.is_stopping


def test_the_death_of_a_child_wakes_but_does_not_stop(signals: Signals) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    signals.wait(None)
    assert not signals.is_stopping
    child.wait()


def test_the_wait_ends_when_a_child_is_due(signals: Signals, program: Program) -> None:
    program.child.tend()
    program.end(-signal.SIGKILL)
    while len(program.started) == 1:
        tend_all([program.child], signals)  # would wait for ever if it waited for a signal only
        program.child.tend()
    assert not signals.is_stopping


def test_whoever_asks_for_something_wakes_whoever_waits(signals: Signals) -> None:
    asked, asking = os.pipe()
    os.write(asking, b"?")
    signals.wait(None, watched=[asked])
    assert not signals.is_stopping
    os.close(asked)
    os.close(asking)


def test_the_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals().caught():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_sighup_that_is_ignored_stays_ignored() -> None:
    """nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals().caught():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_start_that_waits_apart_keeps_nobody_waiting_and_fails_as_any_other(clock: Hand) -> None:
    program, may_start, is_refused = Program(), threading.Event(), True

    def start_late() -> subprocess.Popen[bytes]:
        may_start.wait(20)
        if is_refused:
            raise ChildProcessError("not yet")
        return program.start()

    with ThreadPoolExecutor(max_workers=1) as thread:
        child = program.child
        child.tend()
        child.start, child.apart, child.passing = start_late, thread, (ChildProcessError,)
        program.end(-9)
        assert child.tend() == pytest.approx(0.2)
        clock.now += 0.3
        for _ in range(3):
            assert child.tend() == supervision._STARTING_POLL_S
            assert (child.pid, child.is_starting) == (None, True)
        may_start.set()
        child.settle()
        assert (child.deaths, child.is_starting, len(program.started)) == (2, False, 1)
        is_refused = False
        clock.now += 0.5
        assert child.tend() == supervision._STARTING_POLL_S
        child.settle()
        assert child.tend() is None
        assert (child.pid, len(program.started)) == (1, 2)


def test_who_is_stopped_while_it_starts_is_ended_once_it_has_started() -> None:
    may_start = threading.Event()
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def start_late() -> "subprocess.Popen[bytes]":
        may_start.wait(20)
        return process

    with ThreadPoolExecutor(max_workers=1) as thread:
        child = Child("the program", start_late, [StopStep(signal.SIGTERM, 20)], apart=thread)
        child.tend()
        threading.Timer(0.05, may_start.set).start()
        child.stop()
        assert process.returncode == -signal.SIGTERM
