"""What all embedded servers do alike: find their program, start it with a log, wait until it is ready, end it."""

import abc
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, Self

from tidegate.embedded.children import StopStep, SystemUser, run, spawn, stop
from tidegate.embedded.folders import make_folder

ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that a server sees of ours: PGHOST, PGDATA, LANG and the like of the caller's shell would mislead it."""

_START_PATIENCE_S: Final = 20.0
"""They start in hundredths of a second; the rest is for a machine that has other things to do."""

_ORPHAN_PATIENCE_S: Final = 20.0
"""How long a server whose parent was killed may take to shut down before its successor gives up."""

_POLL_S: Final = 0.01


class EmbeddedServerError(Exception):
    """A server cannot run here; the text is one sentence that says why and what to do."""


class EmbeddedServer(abc.ABC):
    """One server whose files all lie in one folder.

    Start it from the main thread: it ends when the thread that started it ends.

    Attributes:
        title: What people call it.
        refusal: What is raised when it cannot run.
        stopping: How it is ended.
        is_unwanted: Asked while a start waits; True: whoever started it wants to stop, and it gives up.
    """

    title: ClassVar[str]
    refusal: ClassVar[type[EmbeddedServerError]]
    stopping: ClassVar[tuple[StopStep, ...]]

    def __init__(self, folder: Path, *, log_name: str) -> None:
        """Nothing happens before `start`."""
        self._folder = Path(os.path.abspath(folder))
        self._log = self._folder / log_name
        self._process: subprocess.Popen[bytes] | None = None
        self._is_known = False
        self.is_unwanted: Callable[[], bool] = lambda: False

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self._folder

    @property
    def log(self) -> Path:
        """Where the server writes what it has to say."""
        return self._log

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The server process, for whoever watches it."""
        if self._process is None:
            raise self._not_started()
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abc.abstractmethod
    def start(self) -> None:
        """Start the server, and return when it answers.

        Called again after it died, also when that failed in between, it starts it under the same address.

        Raises:
            EmbeddedServerError: It cannot; the text says why and what to do.
        """

    def is_stuck(self) -> bool:
        """Whether it lives and will never answer again by itself. To be asked every few seconds."""
        return False

    def stop(self) -> None:
        """End the server and remove what only a running one needs. Does nothing when it does not run."""
        self._end_process()
        self._is_known = False
        self._leave()

    def _end_failed_start(self) -> None:
        """End what did not become ready, and what only it needs; an address that somebody knows is kept for the next."""
        self._end_process()
        if not self._is_known:
            self._leave()

    def _end_process(self) -> None:
        if self._process is not None:
            stop(self._process, *self.stopping)
            self._process = None

    @abc.abstractmethod
    def _leave(self) -> None:
        """Remove what only a running server needs."""

    def _spawn(
        self, argv: Sequence[str | Path], *, death_signal: signal.Signals, user: SystemUser | None = None
    ) -> subprocess.Popen[bytes]:
        """Start *argv* with our log as its output.

        Raises:
            OSError: It could not be started.
        """
        with open(os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), "ab") as log:
            return spawn(
                argv,
                death_signal=death_signal,
                output=log,
                environment=ENVIRONMENT,
                working_folder=Path("/"),
                user=user,
            )

    def _is_ready_within(
        self,
        patience_s: float,
        process: subprocess.Popen[bytes],
        is_ready: Callable[[], bool],
        is_at_work: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Whether *process* becomes ready; False when it ended before that, is unwanted, or the time is up.

        Args:
            patience_s: The time.
            process: As it was spawned.
            is_ready: Whether it is.
            is_at_work: Asked when the time is up; True: it has as much again.
        """
        give_up_at = time.monotonic() + patience_s
        while process.poll() is None and not self.is_unwanted():
            if is_ready():
                self._is_known = True
                return True
            if time.monotonic() > give_up_at:
                if not is_at_work():
                    return False
                give_up_at = time.monotonic() + patience_s
            time.sleep(_POLL_S)
        return False

    def _outlive_orphan(self, pid_file: Path, *, word: str | Path) -> None:
        """Wait for the server that a killed owner left: it noticed the death of its parent and shuts down.

        Then remove *pid_file*: its number may by now belong to another program.

        Args:
            pid_file: The server's number is its first line.
            word: An argument that only a server of this folder has.

        Raises:
            EmbeddedServerError: It does not end.
        """
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(pid_file.read_text().splitlines()[0])
            give_up_at = time.monotonic() + _ORPHAN_PATIENCE_S
            while _has_argument(pid, word):
                if time.monotonic() > give_up_at:
                    raise self.refusal(f"{self.title} process {pid} still uses {self._folder}; stop it first")
                time.sleep(_POLL_S)
            pid_file.unlink(missing_ok=True)

    def _not_started(self) -> EmbeddedServerError:
        return self.refusal(f"{self.title} has not been started")


class OneProgramServer(EmbeddedServer):
    """A server that is one program, runs as whoever started it, and is ready when it answers.

    Attributes:
        setting: Names another program.
        package: Debian's, for people.
        extra: Ours that brings the wheel, for people.
        version_flag: What makes the program tell its version and end.
    """

    setting: ClassVar[str]
    package: ClassVar[str]
    extra: ClassVar[str] = "embedded"
    version_flag: ClassVar[str] = "--version"

    def __init__(self, folder: Path, *, log_name: str, program: Path | None = None) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where its files lie; made when it is missing.
            log_name: Of its log, in the folder.
            program: The server; None: the wheel's, else Debian's.
        """
        super().__init__(folder, log_name=log_name)
        self._named_program = program

    def start(self) -> None:
        """Start the server, and return when it answers, as `EmbeddedServer.start`."""
        self._end_process()
        program = self._usable_program()
        try:
            make_folder(self._folder, mode=0o750)
            self._prepare()
            self._process = self._spawn([program, *self._arguments()], death_signal=signal.SIGTERM)
        except OSError as error:
            raise self.refusal(f"{self.title} cannot be started in {self._folder} ({error.strerror})") from error
        if not self._is_ready_within(_START_PATIENCE_S, self._process, self._answers):
            self._end_failed_start()
            raise self.refusal(f"{self.title} did not start; read {self._log}")

    def is_installed(self) -> bool:
        """Whether its program is there, and runs."""
        with contextlib.suppress(EmbeddedServerError):
            self._usable_program()
            return True
        return False

    @abc.abstractmethod
    def _prepare(self) -> None:
        """Make what the program needs, in the folder that is there.

        Raises:
            OSError: It cannot be made.
        """

    @abc.abstractmethod
    def _arguments(self) -> Sequence[str | Path]:
        """What follows the program's name."""

    @abc.abstractmethod
    def _answers(self) -> bool:
        """Whether the server is ready now."""

    @abc.abstractmethod
    def _programs(self) -> Iterable[Path]:
        """Where the program may lie if none was named, the best place first."""

    def _usable_program(self) -> Path:
        if self._named_program is not None:
            if self._runs(self._named_program):
                return self._named_program
            raise self.refusal(f"{self._named_program} cannot be run; set {self.setting} to another")
        for program in self._programs():
            if self._runs(program):
                return program
        raise self.refusal(
            f"no {self.title} found; install the extra tidegate[{self.extra}] or Debian's {self.package}, "
            f"or set {self.setting} to the program"
        )

    def _runs(self, program: Path) -> bool:
        try:
            return run([program, self.version_flag], environment=ENVIRONMENT, user=SystemUser.current()).returncode == 0
        except OSError:
            return False


def _has_argument(pid: int, word: str | Path) -> bool:
    """Whether process *pid* lives and was started with *word*."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(word) in words  # a dead process that nobody has reaped has no words
