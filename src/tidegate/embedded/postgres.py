"""A PostgreSQL of one's own, from a wheel: nothing to install, reachable by nobody but its owner and root.

It listens on a Unix socket only, in a folder of mode 0700 that belongs to the user it runs as. Who cannot enter that folder
cannot connect, so no password is needed ("trust"): the folder's mode is the lock.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tidegate.embedded.children import StopStep, SystemUser
from tidegate.embedded.folders import SocketFolder, closed_folder_above, make_folder
from tidegate.embedded.postgres_processes import is_lost, is_recovering
from tidegate.embedded.postgres_programs import EmbeddedPostgresError, PostgresPrograms
from tidegate.embedded.server import EmbeddedServer

ROLE: Final = "tidegate"
DATABASE: Final = "tidegate"

PORT: Final = 5432
"""Only a part of the socket's name here."""

_START_PATIENCE_S: Final = 60.0
"""As long as it recovers it has all the time that it needs; a start that fails ends the wait at once."""

_STUCK_S: Final = 10.0
"""Between serving and recovering a server does neither for some milliseconds, and for 5 s at most when it has to end
sessions that do not end by themselves."""

_START_ATTEMPTS: Final = 4
_ATTEMPT_PAUSE_S: Final = 0.5
"""When the server alone was killed, its last sessions hold its shared memory until they notice: tenths of a second."""

_NOT_DURABLE: Final = "fsync=off"
"""Loses nothing when processes are killed, only when the power fails: for tests. With synchronous_commit=off a kill would
lose what was acknowledged; with full_page_writes=off it could tear a page: Linux may end a write between two of its own.
"""


class EmbeddedPostgres(EmbeddedServer):
    """One PostgreSQL server."""

    title = "PostgreSQL"
    refusal = EmbeddedPostgresError
    stopping = (
        StopStep(signal.SIGINT, 20.0),  # "fast": ends the sessions, writes a checkpoint
        StopStep(signal.SIGQUIT, 5.0),  # "immediate": recovers at the next start
    )

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        binaries: Path | None = None,
        user: str = "nobody",
        connections_max: int = 200,
        slot_wal_mib_max: int = 1024,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where its files lie; made when it is missing.
            durable: False gives up what a power failure would need, for speed.
            binaries: The folder of `postgres` and `initdb`; None: the wheel's, else Debian's newest.
            user: Whom it runs as when we are root, because PostgreSQL refuses to run as root.
            connections_max: How many sessions it allows at once.
            slot_wal_mib_max: What a replica that is away may hold back on the disk; after that it is copied anew.
        """
        super().__init__(folder, log_name="postgres.log")
        self._cluster = self._folder / "cluster"
        self._sockets = SocketFolder(
            prefix="tidegate-pg-", socket_name=f".s.PGSQL.{PORT}", note=self._folder / "socket-folder"
        )
        self._durable = durable
        self._named_binaries = binaries
        self._user_name = user
        self._connections_max = connections_max
        self._slot_wal_mib_max = slot_wal_mib_max
        self._programs: PostgresPrograms | None = None
        self._lost_since: float | None = None

    @property
    def connections_max(self) -> int:
        """How many sessions it allows at once."""
        return self._connections_max

    @property
    def socket_folder(self) -> Path:
        """Where its socket is, under another name after `stop`."""
        if self._sockets.path is None:
            raise self._not_started()
        return self._sockets.path

    def dsn(self, database: str = DATABASE) -> str:
        """The connection string of *database*. It names the socket, which has another name after `stop`."""
        return f"postgresql://{ROLE}@/{quote(database)}?host={quote(str(self.socket_folder))}&port={PORT}"

    def start(self) -> None:
        """Make the database where there is none, start the server, and return when it accepts connections.

        Called again after the server died, also when that failed in between, it starts it under the same DSN. While it
        recovers from a crash it is waited for, for as long as that takes.

        Raises:
            EmbeddedPostgresError: It cannot; the text says why and what to do.
        """
        self._end_process()
        self._lost_since = None
        user = self._server_user()
        self._make_folder(user)
        programs = PostgresPrograms.usable(self._named_binaries, user=user, copies=self._folder)
        self._programs = programs
        major = programs.major_version()
        self._outlive_orphan(self._cluster / "postmaster.pid", word=self._cluster)
        self._make_cluster(programs, major)
        self._refuse_other_major_version(major)
        sockets = self._sockets.make(user)
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._process = self._spawn_server(programs, sockets)
            pid = self._process.pid
            if self._is_ready_within(_START_PATIENCE_S, self._process, self._says_ready, partial(is_recovering, pid)):
                return
            if self._process.poll() is None:
                self._end_failed_start()
                if self.is_unwanted():
                    raise EmbeddedPostgresError("PostgreSQL was told to stop before it was ready")
                raise EmbeddedPostgresError(f"PostgreSQL was not ready within {_START_PATIENCE_S:.0f} s; read {self._log}")
            if attempt < _START_ATTEMPTS:
                time.sleep(_ATTEMPT_PAUSE_S)
        self._end_failed_start()
        raise EmbeddedPostgresError(f"PostgreSQL did not start ({self._last_words()}); read {self._log}")

    def is_stuck(self) -> bool:
        """Whether it lives and will never answer again by itself (`embedded/postgres_processes.py`)."""
        if self._process is None or not is_lost(self._process.pid) or self._status() == "stopping":
            self._lost_since = None
            return False
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        return now - self._lost_since >= _STUCK_S

    def _leave(self) -> None:
        self._sockets.remove()

    def _server_user(self) -> SystemUser:
        current = SystemUser.current()
        if current.uid != 0:
            if current.name == str(current.uid):
                raise EmbeddedPostgresError(
                    f"PostgreSQL refuses user id {current.uid}, which has no name in /etc/passwd; run as another user"
                )
            return current
        try:
            user = SystemUser.named(self._user_name)
        except KeyError:
            raise EmbeddedPostgresError(
                f"there is no user {self._user_name!r} to run PostgreSQL as; set TIDEGATE_EMBEDDED_USER to one that exists"
            ) from None
        if user.uid == 0:
            raise EmbeddedPostgresError("PostgreSQL refuses to run as root; set TIDEGATE_EMBEDDED_USER to another user")
        return user

    def _make_folder(self, user: SystemUser) -> None:
        try:
            make_folder(self._folder, mode=0o755)
            make_folder(self._cluster, mode=0o700)
            owner = self._cluster.stat().st_uid
            if owner == os.geteuid() != user.uid and not any(self._cluster.iterdir()):
                os.chown(self._cluster, user.uid, user.gid)
                owner = user.uid
        except OSError as error:
            raise EmbeddedPostgresError(
                f"the data folder {self._folder} cannot be used ({error.strerror}); choose another"
            ) from error
        if owner != user.uid:
            raise EmbeddedPostgresError(
                f"{self._cluster} belongs to user id {owner}, but PostgreSQL runs as {user.name} ({user.uid}); "
                "choose another data folder or run as that user"
            )
        closed = closed_folder_above(self._cluster, user)
        if closed is not None:
            raise EmbeddedPostgresError(
                f"PostgreSQL runs as {user.name}, who cannot enter {closed}; choose a data folder that others can reach, "
                "such as one under /var/lib"
            )

    def _make_cluster(self, programs: PostgresPrograms, major: int) -> None:
        """Make the database where there is none, in the empty folder that is there."""
        if (self._cluster / "PG_VERSION").exists():
            return
        making = self._empty_folder(programs.user)
        # Without these initdb dies of a LANG that is not installed, and makes SQL_ASCII where there is none.
        locale = (
            ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else ["--locale=C.UTF-8"]
        )
        sync = [] if self._durable else ["--no-sync"]
        trust = ["-A", "trust", "-k", "--no-instructions"]
        programs.run("initdb", "-D", making, "-U", ROLE, "-E", "UTF8", *locale, *trust, *sync)
        programs.run("postgres", "--single", "-D", making, "postgres", typed=f"CREATE DATABASE {DATABASE};\n")
        self._cluster.rmdir()
        making.rename(self._cluster)

    def _empty_folder(self, user: SystemUser) -> Path:
        """Where a database is made, to be renamed when it is whole, so that a kill in between leaves none."""
        making = self._folder / "cluster.making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        if user.uid != os.geteuid():
            os.chown(making, user.uid, user.gid)
        return making

    def _refuse_other_major_version(self, major: int) -> None:
        stored = (self._cluster / "PG_VERSION").read_text().strip()
        if stored != str(major):
            raise EmbeddedPostgresError(
                f"the data in {self._cluster} were written by PostgreSQL {stored}, but PostgreSQL {major} was found; "
                f"set TIDEGATE_POSTGRES_BIN to the programs of {stored}, or move the data with pg_upgrade"
            )

    def _spawn_server(self, programs: PostgresPrograms, sockets: Path) -> subprocess.Popen[bytes]:
        options = [
            *self._options(),
            "listen_addresses=",
            f"unix_socket_directories={sockets}",
            "unix_socket_permissions=0700",
            f"max_connections={self._connections_max}",
            "timezone=UTC",
            "log_timezone=UTC",
            "log_line_prefix=%m [%p] ",
            # The detail of an error may show a whole row, the password hash with it.
            "log_error_verbosity=terse",
            "jit=off",
            *(() if self._durable else (_NOT_DURABLE,)),
        ]
        arguments = [word for option in options for word in ("-c", option)]
        return self._spawn(
            [programs.folder / "postgres", "-D", self._cluster, "-p", str(PORT), *arguments],
            death_signal=signal.SIGINT,
            user=programs.user,
        )

    def _options(self) -> list[str]:
        """Settings of this kind of server."""
        return [f"max_slot_wal_keep_size={self._slot_wal_mib_max}MB"]

    def _ask(self, query: str, database: str = DATABASE) -> str:
        """What the server answers to *query*: its only value, as text."""
        if self._programs is None:
            raise self._not_started()
        return self._programs.ask(self.dsn(database), query)

    def _says_ready(self) -> bool:
        return self._status() == "ready"

    def _status(self) -> str:
        """What the server says of itself in its pid file, as pg_ctl reads it; "ready" also while it recovers anew."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
            if len(lines) >= 8 and lines[0] == str(self.process.pid):
                return lines[7].strip()
        return ""

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            said = re.findall(r"(?:FATAL|ERROR|PANIC): +(.+)", self._log.read_text(errors="replace"))
            if said:
                return str(said[-1])
        return "it said nothing"
