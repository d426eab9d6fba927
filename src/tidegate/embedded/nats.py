"""A NATS server with JetStream of one's own, from a wheel: nothing to install, and nobody else can read or write in it.

NATS knows no Unix sockets, so it listens on a port of the loopback interface, and a password made anew for each server
keeps other users of the machine out. What it stores survives a kill, not a power failure: the table of jobs is the truth
(DESIGN 5.6).
"""

import contextlib
import http.client
import json
import os
import secrets
import signal
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tidegate.embedded.children import StopStep
from tidegate.embedded.ports import LOOPBACK, free_port, is_free
from tidegate.embedded.server import EmbeddedServerError, OneProgramServer

_USER: Final = "tidegate"
_PASSWORD_BYTES: Final = 24

_DEBIAN_PROGRAMS: Final = (Path("/usr/sbin/nats-server"), Path("/usr/bin/nats-server"))

_ANSWER_PATIENCE_S: Final = 1.0
_START_ATTEMPTS: Final = 4
"""Another program may take a port between our choice and the start, hardly ever twice."""

_STORED_BYTES_MAX: Final = 1 << 30
"""On the disk; by default it would be three quarters of what is free there."""

_MEMORY_BYTES_MAX: Final = 64 << 20
"""For streams that are kept in memory: that of changes, which takes a quarter of it (queue/changes.py)."""


class EmbeddedNatsError(EmbeddedServerError):
    """NATS cannot run here."""


class EmbeddedNats(OneProgramServer):
    """One NATS server with JetStream."""

    title = "NATS"
    refusal = EmbeddedNatsError
    stopping = (StopStep(signal.SIGTERM, 5.0),)
    setting = "TIDEGATE_NATS_PROGRAM"
    package = "nats-server"

    def __init__(self, folder: Path, *, program: Path | None = None) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where its log and what it stores lie; made when it is missing.
            program: `nats-server`; None: the wheel's, else Debian's.
        """
        super().__init__(folder, log_name="nats.log", program=program)
        self._name = f"tidegate-{secrets.token_hex(8)}"
        self._password = secrets.token_urlsafe(_PASSWORD_BYTES)
        self._configuration = self._folder / "nats.conf"
        self._pid_file = self._folder / "nats.pid"
        self._ports: tuple[int, int] | None = None
        self._has_run = False

    @property
    def url(self) -> str:
        """How to reach it, with its password, as TIDEGATE_QUEUE_URL takes it; the same after `stop` and `start`."""
        return f"nats://{_USER}:{self._password}@{LOOPBACK}:{self._chosen_ports()[0]}"

    @property
    def monitor_url(self) -> str:
        """Where it tells how it is: /healthz, /varz, /jsz (https://docs.nats.io, "Monitoring")."""
        return f"http://{LOOPBACK}:{self._chosen_ports()[1]}"

    @property
    def store(self) -> Path:
        """The folder of its streams."""
        return self._folder / "jetstream"  # NATS chooses the name

    def start(self) -> None:
        """Start the server, and return when it answers. Called again, also after `stop`, it starts it under the same URL.

        Raises:
            EmbeddedNatsError: It cannot; the text says why and what to do.
        """
        for attempts_left in reversed(range(_START_ATTEMPTS)):
            try:
                super().start()
            except EmbeddedNatsError:
                if self._has_run or not attempts_left or not self._is_port_taken():
                    raise
                self._ports = None
            else:
                self._has_run = True
                return

    def _prepare(self) -> None:
        self._outlive_orphan(self._pid_file, word=self._configuration)
        if self._ports is None:
            self._ports = (free_port(), free_port())
        port, monitor_port = self._ports
        self._configuration.unlink(missing_ok=True)
        # Not as arguments, which everybody on the machine may read.
        with open(os.open(self._configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"""\
server_name: {self._name}
listen: "{LOOPBACK}:{port}"
http: "{LOOPBACK}:{monitor_port}"
pid_file: {json.dumps(str(self._pid_file))}
authorization {{ user: {_USER}, password: "{self._password}" }}
jetstream {{
  store_dir: {json.dumps(str(self._folder))}
  max_file_store: {_STORED_BYTES_MAX}
  max_memory_store: {_MEMORY_BYTES_MAX}
}}
""")

    def _leave(self) -> None:
        self._configuration.unlink(missing_ok=True)

    def _arguments(self) -> Sequence[str | Path]:
        return ["-c", self._configuration]

    def _answers(self) -> bool:
        # The name: a stranger that took our port while we were away would be healthy too.
        return self._told("/healthz").get("status") == "ok" and self._told("/varz").get("server_name") == self._name

    def _told(self, path: str) -> dict[str, object]:
        asking = http.client.HTTPConnection(LOOPBACK, self._chosen_ports()[1], timeout=_ANSWER_PATIENCE_S)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError), contextlib.closing(asking):
            asking.request("GET", path)
            told = json.loads(asking.getresponse().read())
            if isinstance(told, dict):
                return told
        return {}

    def _programs(self) -> Iterator[Path]:
        yield Path(sysconfig.get_path("scripts"), "nats-server")
        yield from _DEBIAN_PROGRAMS

    def _chosen_ports(self) -> tuple[int, int]:
        if self._ports is None:
            raise self._not_started()
        return self._ports

    def _is_port_taken(self) -> bool:
        return self._ports is not None and not all(map(is_free, self._ports))
