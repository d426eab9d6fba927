"""Keeps child processes running until we are told to stop; `up`, `cluster` and `api` share it."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from tidegate.cli.exits import DONE, UNAVAILABLE, CommandFailed
from tidegate.embedded.children import StopStep, stop

_PAUSE_S_MIN: Final = 0.2
_PAUSE_S_MAX: Final = 30.0
"""Between the death of a child and its next start; doubles with every death: a broken one must not keep a machine busy."""

_STEADY_S: Final = 60.0
"""A child that lived so long has shown that it can; its next death counts as the first."""

_LOOK_S: Final = 2.0
"""Between two looks whether a child that lives is stuck."""

_STARTING_POLL_S: Final = 0.05
"""Between two looks at a start that waits apart."""

_FIRST_START_S: Final = 10.0
"""A child that gives up so soon after its very first start will give up again: the command ends with its exit code."""


def say(line: str) -> None:
    """Tell the person at the terminal; one who has gone must not stop us."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


class Signals:
    """Turns SIGTERM, SIGINT and SIGHUP into `is_stopping`, and wakes `wait` for them and for the death of a child."""

    def __init__(self) -> None:
        self.is_stopping = False
        self._woken = -1

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch them within the block."""
        self._woken, waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(waker, False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.getsignal(number) for number in numbers}
        for number, handler in before.items():
            # nohup ignores SIGHUP so that we outlive the terminal.
            if number != signal.SIGHUP or handler is not signal.SIG_IGN:
                signal.signal(number, self._note)
        woken_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._woken)
            os.close(waker)

    def wait(self, timeout_s: float | None, watched: Sequence[int] = ()) -> None:
        """Within `caught`: return at the next signal, or after *timeout_s*, or at once when we are stopping.

        Args:
            timeout_s: None: however long it takes.
            watched: Descriptors; return also when one of them can be read.
        """
        if self.is_stopping:
            return
        select.select([self._woken, *watched], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 4096):
                pass

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.is_stopping = True


@dataclass
class Child:
    """One child process, as often as it has to be started.

    Attributes:
        name: For people.
        start: Starts the process.
        stopping: How it is ended.
        on_death: Told the process number of each one that died.
        last_words: What to say when it gave up for good, where it could not say so itself.
        passing: What `start` may raise for a reason that passes, besides `OSError`: the machine has no room for a process
            now, say. Once it has been started, it is then tried again later.
        tell: Told what becomes of it.
        is_stuck: Whether it lives and will never be of use again: then it is ended, and started again. None: that cannot be
            told.
        apart: Where a start that takes long waits, so that others are looked after meanwhile: a thread that lives as long
            as we do, for a child dies with the thread that started it (prctl(2)). None: whoever calls `tend` waits.
        deaths: How often it has died, or could not be started.
    """

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    stopping: Sequence[StopStep]
    on_death: Callable[[int], None] = field(default=lambda _pid: None)
    last_words: Callable[[], Sequence[str]] = field(default=tuple)
    passing: tuple[type[Exception], ...] = ()
    tell: Callable[[str], None] = field(default=say)
    is_stuck: Callable[[], bool] | None = None
    apart: ThreadPoolExecutor | None = None
    deaths: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _starting: "Future[subprocess.Popen[bytes]] | None" = None
    _first_started_at: float | None = None
    _started_at: float = 0.0
    _due_at: float = 0.0
    _look_at: float = 0.0
    _pause_s: float = _PAUSE_S_MIN

    def tend(self) -> float | None:
        """Start it if it is due, note its death; after how many seconds to look again, or None when only a signal matters.

        Raises:
            CommandFailed: It ended with an exit code right after the very first start.
        """
        now = time.monotonic()
        if self._process is not None and self.is_stuck is not None and now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._end_stuck(self._process, self.is_stuck)
        if self._process is not None and self._process.poll() is not None:
            self._note_death(self._process, now)
        if self._starting is not None:
            if self._starting.done():
                self.settle()
        elif self._process is None and now >= self._due_at:
            self._start(now)
        if self._starting is not None:
            return _STARTING_POLL_S
        if self._process is None:
            return self._due_at - now
        return None if self.is_stuck is None else self._look_at - now

    def settle(self) -> None:
        """Wait until a start that is under way has come to its end."""
        if self._starting is not None:
            starting, self._starting = self._starting, None
            self._take(starting.result, time.monotonic())

    @property
    def pid(self) -> int | None:
        """Its process number; None while there is none."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    @property
    def is_starting(self) -> bool:
        """Whether a start waits apart."""
        return self._starting is not None

    @property
    def age_s(self) -> float:
        """For how long it has run; without meaning while it does not."""
        return time.monotonic() - self._started_at

    def ask_to_stop(self) -> None:
        """Send the first signal of `stopping` without waiting for its effect."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.stopping[0].signal)

    def stop(self) -> None:
        """End it and wait for its end."""
        self.settle()
        if self._process is not None:
            stop(self._process, *self.stopping)
            self.on_death(self._process.pid)
            self._process = None

    def _end_stuck(self, process: subprocess.Popen[bytes], is_stuck: Callable[[], bool]) -> None:
        if process.poll() is None and is_stuck():
            self.tell(f"tidegate: {self.name} lives, but neither serves nor recovers any more; ending it")
            stop(process, *self.stopping[-1:])  # it would not heed a polite word

    def _start(self, now: float) -> None:
        if self.apart is None:
            self._take(self.start, now)
        else:
            self._starting = self.apart.submit(self.start)

    def _take(self, start: Callable[[], subprocess.Popen[bytes]], now: float) -> None:
        passing: tuple[type[Exception], ...] = (OSError, *self.passing)
        try:
            self._process = start()
        except passing as error:
            if self._first_started_at is None:
                raise
            self._put_off(f"could not be started: {error}", now)
            return
        self._started_at = now
        self._look_at = now + _LOOK_S
        self._first_started_at = self._first_started_at or now

    def _note_death(self, dead: subprocess.Popen[bytes], now: float) -> None:
        self._process = None
        self.on_death(dead.pid)
        is_first = self._started_at == self._first_started_at and now - self._started_at < _FIRST_START_S
        # One that was killed, whose code is negative, has not given up, and what is away now may be back in a moment.
        if is_first and dead.returncode > DONE and dead.returncode != UNAVAILABLE:
            raise CommandFailed(dead.returncode, *self.last_words())
        if now - self._started_at > _STEADY_S:
            self._pause_s = _PAUSE_S_MIN
        self._put_off(_ending(dead.returncode), now)

    def _put_off(self, what_happened: str, now: float) -> None:
        self.deaths += 1
        self.tell(f"tidegate: {self.name} {what_happened}; starting it again in {self._pause_s:g} s")
        self._due_at = now + self._pause_s
        self._pause_s = min(_PAUSE_S_MAX, self._pause_s * 2)


def tend_all(children: Sequence[Child], signals: Signals, watched: Sequence[int] = ()) -> None:
    """Look after *children* until the next signal, until one is due, or until one of *watched* can be read.

    Raises:
        CommandFailed: As `Child.tend`.
    """
    signals.wait(tend_each(children), watched)


def tend_each(children: Iterable[Child]) -> float | None:
    """Look after *children* once; after how many seconds to do it again, or None when only a signal matters.

    Raises:
        CommandFailed: As `Child.tend`.
    """
    return min((pause for child in children if (pause := child.tend()) is not None), default=None)


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with code {returncode}"
    return f"was ended by {signal.Signals(-returncode).name}"
