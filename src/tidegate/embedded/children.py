"""Child processes that cannot outlive the process that started them, whatever ends it, and that never hear its Ctrl-C."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2)."""

# Looked up here, in the parent: between fork and exec nothing may be loaded. Only Linux has it; elsewhere a killed parent
# leaves its children behind, as it does for everybody.
_prctl: Final = getattr(ctypes.CDLL(None), "prctl", None)


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A user of the operating system."""

    name: str
    uid: int
    gid: int

    @classmethod
    def current(cls) -> "SystemUser":
        """Whoever runs this process."""
        return replace(cls.of(os.geteuid()), gid=os.getegid())

    @classmethod
    def of(cls, uid: int) -> "SystemUser":
        """The user of this number, which stands for the name where there is none."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(str(uid), uid, uid)
        return cls(entry.pw_name, uid, entry.pw_gid)

    @classmethod
    def named(cls, name: str) -> "SystemUser":
        """The user called *name*.

        Raises:
            KeyError: There is none.
        """
        entry = pwd.getpwnam(name)
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True)
class StopStep:
    """A signal, and how long to wait for its effect."""

    signal: signal.Signals
    patience_s: float


def spawn(
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals,
    output: IO[bytes] | int | None,
    environment: Mapping[str, str] | None = None,
    working_folder: Path | None = None,
    user: SystemUser | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start *argv* in a process group of its own, bound to the life of the calling thread.

    Call it from the main thread: Linux sends *death_signal* when the thread that spawned ends, not when its process does.

    Args:
        argv: The program, by absolute path, and its arguments.
        death_signal: What the child gets when this process ends, even by SIGKILL.
        output: Where its standard output and error go; None: where ours go.
        environment: Its whole environment; None: ours.
        working_folder: None: ours.
        user: Whom it runs as; only root may name another.
        pass_fds: Open descriptors that it inherits, under the same numbers.

    Raises:
        OSError: It could not be started.
    """
    uid, gid, groups = _identity(user)
    return subprocess.Popen(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        env=environment,
        cwd=working_folder,
        pass_fds=pass_fds,
        user=uid,
        group=gid,
        extra_groups=groups,
        # Else Ctrl-C in the terminal would stop the database at the same moment as the API that still needs it.
        process_group=0,
        preexec_fn=_bound_to_this_process(death_signal),  # noqa: PLW1509 - two system calls, both made ready before the fork
    )


def run(
    argv: Sequence[str | Path], *, environment: Mapping[str, str], user: SystemUser, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run *argv* in the root folder as *user* to its end, with *typed* as its standard input, and return what it said.

    As with `spawn`, Ctrl-C does not reach it, and it ends with us.

    Raises:
        OSError: It could not be started.
    """
    uid, gid, groups = _identity(user)
    return subprocess.run(
        [str(word) for word in argv],
        input=typed,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        cwd="/",
        user=uid,
        group=gid,
        extra_groups=groups,
        process_group=0,
        preexec_fn=_bound_to_this_process(signal.SIGKILL),
        check=False,
    )


def _identity(user: SystemUser | None) -> tuple[int | None, int | None, list[int] | None]:
    """Uid, gid and further groups to change to; all None to stay who we are, which needs no right to change."""
    if user is None or user.uid == os.geteuid():
        return None, None, None
    return user.uid, user.gid, []


def _bound_to_this_process(death_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def bind() -> None:
        # Python changes the user first: a change of user would take the setting away again (prctl(2)).
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl could bind us to it
            os.kill(os.getpid(), signal.SIGKILL)

    return bind


def stop(process: subprocess.Popen[bytes], *steps: StopStep) -> int:
    """End *process* by one step after another until it is gone, at last by SIGKILL, and return its exit code."""
    for step in steps:
        if process.poll() is not None:
            break
        process.send_signal(step.signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(step.patience_s)
    if process.poll() is None:
        process.kill()
    return process.wait()
