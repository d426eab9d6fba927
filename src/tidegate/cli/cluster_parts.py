"""One part of a running cluster: its process, the line that leads to it, and every fault that can be done to it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tidegate.cli.exits import UNAVAILABLE, WRONG_WORDS, CommandFailed
from tidegate.cli.supervision import Child
from tidegate.cluster import line as line_program
from tidegate.cluster.layout import Kind
from tidegate.cluster.processes import Frozen, kill
from tidegate.embedded.children import StopStep, spawn

_STOPPING_LINE: Final = (StopStep(signal.SIGTERM, 1.0),)
_LINE_WITHIN_S: Final = 10.0
_POLL_S: Final = 0.005
_DEAD_WITHIN_S: Final = 2.0


@dataclass
class Part:
    """A part that runs, or is about to be started again.

    Attributes:
        name: Such as "api-1".
        kind: What it is.
        child: Its process.
        log: Where it writes.
        end: Ends it for good.
        line: The process through which all others reach it; None: they reach it as they do anywhere.
        is_refused: Whether the line was taken away, so that everybody is refused.
        is_replay_paused: Of a replica: whether we told it to apply nothing.
    """

    name: str
    kind: Kind
    child: Child
    log: Path
    end: Callable[[], None]
    line: Child | None = field(default=None, init=False)
    is_refused: bool = field(default=False, init=False)
    is_replay_paused: bool = field(default=False, init=False)
    _paused: Frozen | None = field(default=None, init=False)
    _hanging: Frozen | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Whoever dies is neither frozen nor held any more."""
        self.child.on_death = self._forget

    def lay_line(self, line: Child) -> None:
        """Start *line*, through which all others are to reach it."""
        line.on_death = self._forget_line
        self.line = line
        line.tend()

    @property
    def is_paused(self) -> bool:
        """Whether all its processes are frozen."""
        return self._paused is not None

    @property
    def is_cut(self) -> bool:
        """Whether nobody reaches it."""
        return self.is_refused or self._hanging is not None

    def children(self) -> Iterator[Child]:
        """What is to be looked after now."""
        yield self.child
        if self.line is not None and not self.is_refused:
            yield self.line

    def kill(self) -> str:
        """End all its processes at once; what to tell."""
        pid = self._pid()
        count = kill(pid)
        give_up_at = time.monotonic() + _DEAD_WITHIN_S
        due_in_s = self.child.tend()
        while self.child.pid == pid and time.monotonic() < give_up_at:
            time.sleep(_POLL_S)
            due_in_s = self.child.tend()
        again = (
            "is being started again"
            if due_in_s is None or self.child.pid is not None
            else f"is started again in {due_in_s:.1f} s"
        )
        return f"{self.name}: {count} {'process' if count == 1 else 'processes'} killed; it {again}"

    def pause(self) -> str:
        """Freeze all its processes; what to tell."""
        if self._paused is None:
            self._paused = Frozen(self._pid())
        count = len(self._paused.members)
        return f"{self.name}: {count} {'process' if count == 1 else 'processes'} paused, until `resume {self.name}`"

    def cut(self, *, is_refused: bool) -> str:
        """Make the line to it dead: it hangs, or refuses everybody; what to tell.

        Raises:
            CommandFailed: There is no line.
        """
        if self.line is None:
            raise CommandFailed(
                WRONG_WORDS, f"no line leads to {self.name}, only to the servers behind the nodes; pause it"
            )
        self._mend()
        if is_refused:
            self.is_refused = True
            self.line.stop()
            return f"{self.name}: everybody is refused, until `resume {self.name}`"
        if self.line.pid is None:
            raise CommandFailed(UNAVAILABLE, f"the line to {self.name} is being started; try again")
        self._hanging = Frozen(self.line.pid)
        return f"{self.name}: whoever asks it hangs, until `resume {self.name}`"

    def resume(self) -> None:
        """Take back `pause` and `cut`."""
        if self._paused is not None:
            self._paused.thaw()
            self._paused = None
        self._mend()

    def end_line(self) -> None:
        """End its line for good."""
        if self.line is not None:
            self.line.stop()

    def _pid(self) -> int:
        pid = self.child.pid
        if pid is None:
            raise CommandFailed(UNAVAILABLE, f"{self.name} is dead, and started again shortly; try again")
        return pid

    def _mend(self) -> None:
        self.is_refused = False
        if self._hanging is not None:
            self._hanging.thaw()
            self._hanging = None

    def _forget(self, _pid: int) -> None:
        self.is_replay_paused = False
        if self._paused is not None:
            self._paused.thaw()
            self._paused = None

    def _forget_line(self, _pid: int) -> None:
        if self._hanging is not None:
            self._hanging.thaw()
            self._hanging = None


def line_to(name: str, address: str, target: str, log: Path, tell: Callable[[str], None]) -> Child:
    """The process that carries what comes on at *address* to *target*; see `cluster.line`."""

    def start() -> "subprocess.Popen[bytes]":
        is_path = address.startswith("/")
        if is_path:
            Path(address).unlink(missing_ok=True)
        with open(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), "ab") as output:
            process = spawn(
                [sys.executable, "-I", "-S", line_program.__file__, address, target],
                death_signal=signal.SIGTERM,
                output=output,
                working_folder=log.parent,
            )
        give_up_at = time.monotonic() + _LINE_WITHIN_S
        while process.poll() is None and time.monotonic() < give_up_at:
            if Path(address).exists() if is_path else _listens(address):
                break
            time.sleep(_POLL_S)
        return process

    return Child(f"the line to {name}", start, _STOPPING_LINE, tell=tell)


def _listens(address: str) -> bool:
    with contextlib.suppress(OSError):
        line_program.connect(address, timeout_s=1.0).close()
        return True
    return False
