"""A PostgreSQL that follows another, may be promoted in its place, and follows again when it comes back from having led.

Whoever leads is told by the owner, never guessed: two servers that both think they lead would both acknowledge logins. What
was written on one that led and had not reached the one that was promoted is given up when it follows: wait for a standby at
commit (`synchronous_standby_names`) for what must not be lost.
"""

import contextlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import Final

from tidegate.embedded.postgres import PORT, ROLE, EmbeddedPostgres
from tidegate.embedded.postgres_programs import EmbeddedPostgresError, PostgresPrograms

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a replication slot may be called."""

_STREAMS_WITHIN_S: Final = 10.0
"""A replica streams after tenths of a second. One that does not has parted from its primary, or came too late for what its
primary has thrown away: it is copied anew."""

_PROGRESS: Final = """\
SELECT state || ' ' || pg_wal_lsn_diff(coalesce(write_lsn, '0/0'), '0/0')
FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = '{name}'"""
"""Of the primary, because a receiver says that it streams before it is told that what it asks for is gone."""

_POLL_S: Final = 0.02

_PROMOTED_WITHIN_S: Final = 60


class EmbeddedReplica(EmbeddedPostgres):
    """One PostgreSQL server that follows a primary."""

    def __init__(
        self,
        folder: Path,
        *,
        primary: EmbeddedPostgres,
        name: str,
        durable: bool = True,
        binaries: Path | None = None,
        user: str = "nobody",
    ) -> None:
        """Nothing happens before `start`.

        Args:
            folder: Where its files lie; made when it is missing. It may be that of a server that led before.
            primary: Whom it follows. It should run when this one is started for the first time.
            name: Of its slot and in `synchronous_standby_names`: lower-case letters, digits, underscores.
            durable: As of `EmbeddedPostgres`.
            binaries: As of `EmbeddedPostgres`, of the same version as the primary's.
            user: As of `EmbeddedPostgres`, the same as the primary's, whose socket it must reach.

        Raises:
            ValueError: No slot can have that name.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a replication slot")
        # A replica that allows fewer sessions than its primary does not start.
        super().__init__(folder, durable=durable, binaries=binaries, user=user, connections_max=primary.connections_max)
        self._name = name
        self._primary: EmbeddedPostgres | None = primary
        self._rewinding = self._folder / "rewinding"
        self._aside = self._folder / "cluster.aside"

    @property
    def name(self) -> str:
        """Of its slot, and in `synchronous_standby_names`."""
        return self._name

    @property
    def primary(self) -> EmbeddedPostgres | None:
        """Whom it follows; None once it was promoted."""
        return self._primary

    def start(self) -> None:
        """Start it as a replica of its primary, and return when it answers, and streams if its primary can be reached.

        What lies in its folder is taken as it is, rewound if it led before, or copied anew if it cannot follow. Only a
        whole copy takes its place: without a primary nothing is ever thrown away.

        Raises:
            EmbeddedPostgresError: It cannot; the text says why and what to do.
        """
        super().start()
        if self._primary is not None and self._is_left_behind(self._primary):
            self._end_process()
            self._copy(self._started_programs(), self._primary)
            super().start()

    def follow(self, primary: EmbeddedPostgres) -> None:
        """Follow *primary* from now on; returns when it does. Connections to this server end.

        Raises:
            EmbeddedPostgresError: It cannot; the text says why and what to do.
        """
        self._primary = primary
        self.start()

    def promote(self) -> None:
        """Make it a primary; returns when it takes writes. See to it before that the old one takes none any more.

        Raises:
            EmbeddedPostgresError: It did not become one.
        """
        if self._ask(f"SELECT pg_promote(true, {_PROMOTED_WITHIN_S})") != "t":
            raise EmbeddedPostgresError(f"{self._name} was not promoted within {_PROMOTED_WITHIN_S} s; read {self._log}")
        self._primary = None
        # Only a checkpoint writes down that it leads; who is rewound before that takes it for one that never did.
        self._ask("CHECKPOINT")

    def pause_replay(self) -> None:
        """Let it receive all and show nothing of it; returns when it does so."""
        self._ask("SELECT pg_wal_replay_pause()")
        while self._ask("SELECT pg_get_wal_replay_pause_state()") != "paused":
            time.sleep(_POLL_S)

    def resume_replay(self) -> None:
        """End what `pause_replay` began."""
        self._ask("SELECT pg_wal_replay_resume()")

    def _options(self) -> list[str]:
        options = super()._options()
        if self._primary is None:
            return options
        with contextlib.suppress(EmbeddedPostgresError):  # one that was never started is where we cannot know
            host = str(self._primary.socket_folder).replace("\\", "\\\\").replace("'", "\\'")
            options += [f"primary_conninfo=host='{host}' port={PORT} user={ROLE} application_name={self._name}"]
        return [
            *options,
            f"primary_slot_name={self._name}",
            "wal_retrieve_retry_interval=200ms",  # by default it comes back 5 s after its primary
            # On, the slot of a replica that is away would keep the primary from removing dead rows. Off, a read may have to
            # end so that replay goes on: after a second, for reads take milliseconds.
            "hot_standby_feedback=off",
            "max_standby_streaming_delay=1s",
        ]

    def _make_cluster(self, programs: PostgresPrograms, major: int) -> None:
        if self._primary is None:
            super()._make_cluster(programs, major)
            return
        if not self._is_there() and self._aside.exists():  # killed between the two renames of `_copy`
            self._cluster.rmdir()
            self._aside.rename(self._cluster)
        if not self._can_reach(self._primary):
            if not self._is_standby():
                raise EmbeddedPostgresError(
                    f"{self._name} cannot be made a replica while nobody leads; start its primary, or promote one, first"
                )
            return
        if self._is_there():
            self._refuse_stranger(programs, self._primary)
        is_lost = self._reserve_slot(self._primary)
        if not self._is_there() or is_lost or self._rewinding.exists():
            self._copy(programs, self._primary)
        elif not self._is_standby():
            self._rewind(programs, self._primary)

    def _copy(self, programs: PostgresPrograms, primary: EmbeddedPostgres) -> None:
        """Take a copy of *primary*, and put it in the place of what is there when it is whole."""
        making = self._empty_folder(programs.user)
        sync = [] if self._durable else ["--no-sync"]
        programs.run("pg_basebackup", "-d", primary.dsn(), "-D", making, "-X", "stream", "-c", "fast", *sync)
        self._make_standby(making)
        shutil.rmtree(self._aside, ignore_errors=True)
        self._cluster.rename(self._aside)
        making.rename(self._cluster)
        shutil.rmtree(self._aside)
        self._rewinding.unlink(missing_ok=True)

    def _rewind(self, programs: PostgresPrograms, primary: EmbeddedPostgres) -> None:
        """Undo what a server that led has written since *primary* was promoted; if that cannot be done, copy *primary*."""
        self._rewinding.touch()
        sync = [] if self._durable else ["--no-sync"]
        try:
            programs.run("pg_rewind", "-D", self._cluster, f"--source-server={primary.dsn()}", *sync)
        except EmbeddedPostgresError:
            self._copy(programs, primary)
            return
        self._make_standby(self._cluster)
        self._rewinding.unlink()

    def _refuse_stranger(self, programs: PostgresPrograms, primary: EmbeddedPostgres) -> None:
        """Let nothing be thrown away but what *primary* has too, or has overtaken by its promotion.

        Raises:
            EmbeddedPostgresError: The folder holds another database, or one that is of a later promotion.
        """
        told = programs.run("pg_controldata", "-D", self._cluster)
        ours = re.findall(r"^(?:Database system identifier|Latest checkpoint's TimeLineID): +(\d+)", told, re.MULTILINE)
        asked = "SELECT system_identifier || ' ' || timeline_id FROM pg_control_system(), pg_control_checkpoint()"
        theirs = programs.ask(primary.dsn(), asked).split()
        if len(ours) != 2 or ours[0] != theirs[0]:
            raise EmbeddedPostgresError(f"{self._cluster} holds another database than the primary; choose another folder")
        if int(ours[1]) > int(theirs[1]) or (int(ours[1]) == int(theirs[1]) and not self._is_standby()):
            raise EmbeddedPostgresError(
                f"{self._cluster} led after the server it is to follow; promote that one first, or let it follow this"
            )

    def _make_standby(self, cluster: Path) -> None:
        """Let what lies in *cluster* follow when it is started, with no setting of the server that it was copied from.

        One such setting is whom that one's commits wait for: promoted, this one would wait for itself, for ever.
        """
        (cluster / "postgresql.auto.conf").write_text("")
        signal_file = cluster / "standby.signal"
        signal_file.touch(mode=0o600)
        owner = cluster.stat()
        os.chown(signal_file, owner.st_uid, owner.st_gid)

    def _reserve_slot(self, primary: EmbeddedPostgres) -> bool:
        """See to it that *primary* keeps what we have not read yet; whether it has thrown some of that away before."""
        programs = self._started_programs()
        named = f"slot_name = '{self._name}'"
        query = f"SELECT count(*) FROM pg_replication_slots WHERE {named} AND wal_status = 'lost'"  # noqa: S608 - our own name
        is_lost = programs.ask(primary.dsn(), query) != "0"
        if is_lost:
            programs.ask(primary.dsn(), f"SELECT pg_drop_replication_slot('{self._name}')")
        programs.ask(
            primary.dsn(),
            f"SELECT pg_create_physical_replication_slot('{self._name}', true) "  # noqa: S608 - our own name
            f"WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE {named})",
        )
        return is_lost

    def _is_left_behind(self, primary: EmbeddedPostgres) -> bool:
        """Whether *primary* leads, and yet brings us no further for a while."""
        furthest = 0
        give_up_at = time.monotonic() + _STREAMS_WITHIN_S
        while time.monotonic() < give_up_at:
            try:
                told = self._started_programs().ask(primary.dsn(), _PROGRESS.format(name=self._name))
            except EmbeddedPostgresError:
                return False
            state, _, position = told.partition(" ")
            if state == "streaming":
                return False
            if int(position or 0) > furthest:
                furthest, give_up_at = int(position), time.monotonic() + _STREAMS_WITHIN_S
            time.sleep(_POLL_S)
        return self._can_reach(primary)

    def _can_reach(self, primary: EmbeddedPostgres) -> bool:
        """Whether *primary* answers and leads."""
        try:
            return self._started_programs().ask(primary.dsn(), "SELECT pg_is_in_recovery()") == "f"
        except EmbeddedPostgresError:
            return False

    def _is_there(self) -> bool:
        return (self._cluster / "PG_VERSION").exists()

    def _is_standby(self) -> bool:
        return self._is_there() and (self._cluster / "standby.signal").exists()

    def _started_programs(self) -> PostgresPrograms:
        if self._programs is None:
            raise self._not_started()
        return self._programs
