"""The PostgreSQL servers of a run: one that leads, and perhaps some that follow it and may take its place.

What is acknowledged must outlive a failover, so wherever somebody follows, a commit waits for one of them.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.faults.small_disks import SmallDisk, small_disk
from tests.support import servers
from tests.support.tables import rows
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.replica import EmbeddedReplica

_CONNECTIONS_MAX: Final = 60
"""Few, so that they can be exhausted."""

_SYNCHRONOUS: Final = "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'"


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for one run, which is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-faults-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Primaries:
    """Who leads, and who follows.

    Attributes:
        leader: Takes the writes.
        replicas: Follow it.
        small_disk: Where the first of them has its data; None: on the disk that all else is on.
    """

    def __init__(self, folder: Path, *, has_small_disk: bool = False) -> None:
        """Nothing is started before `opened`."""
        self._folder = folder
        self._has_small_disk = has_small_disk
        self.small_disk: SmallDisk | None = None
        self._first = EmbeddedPostgres(folder / "primary", durable=True, connections_max=_CONNECTIONS_MAX)
        self._folder_of: dict[EmbeddedPostgres, Path] = {self._first: folder / "primary"}
        self._returned = 0
        self.leader: EmbeddedPostgres = self._first
        self.replicas: list[EmbeddedReplica] = []

    @contextlib.contextmanager
    def opened(self) -> Iterator["Primaries"]:
        """Start the first of them, and end all."""
        self._folder.chmod(0o711)  # as root, PostgreSQL runs as another user, who must be able to enter
        with contextlib.ExitStack() as disks:
            if self._has_small_disk:
                self.small_disk = disks.enter_context(small_disk(self._folder_of[self._first]))
            try:
                self.leader.start()
                yield self
            finally:
                for server in [*self.replicas, self.leader]:
                    server.stop()

    @property
    def on_small_disk(self) -> EmbeddedPostgres:
        """Whose data are there now: the first leader, or what it has become after a failover."""
        return next(
            server for server in [self.leader, *self.replicas] if self._folder_of[server] == self._folder_of[self._first]
        )

    def add_replicas(self, count: int) -> None:
        """Let so many follow; from then on a commit waits for one of them."""
        for number in range(1, count + 1):
            self._follow(self._folder / f"replica-{number}", f"replica_{number}")
        for server in [self.leader, *self.replicas]:
            self._wait_for_one(server)

    def restart_leader(self) -> None:
        """Start it where it was killed."""
        self.leader.start()

    def kill_leader(self) -> None:
        """End it as a power failure does for everything but what is on the disk."""
        servers.kill(self.leader)

    def fail_over(self) -> EmbeddedPostgres:
        """Let the replica that has received most lead, and the others follow it; who led before, and has been killed."""
        former = self.leader
        chosen = max(self.replicas, key=_received)
        self.replicas.remove(chosen)
        chosen.promote()
        self.leader = chosen
        for replica in self.replicas:
            replica.follow(chosen)
            self._wait_for_one(replica)
        return former

    def take_back(self, former: EmbeddedPostgres) -> None:
        """Let *former*, which led and was killed, follow whoever leads now."""
        former.stop()
        self._returned += 1
        self._wait_for_one(self._follow(self._folder_of[former], f"former_{self._returned}"))

    def _follow(self, folder: Path, name: str) -> EmbeddedReplica:
        replica = EmbeddedReplica(folder, primary=self.leader, name=name, durable=True)
        self._folder_of[replica] = folder
        replica.start()
        self.replicas.append(replica)
        return replica

    @staticmethod
    def _wait_for_one(server: EmbeddedPostgres) -> None:
        """Of a replica it tells what is to be when it leads."""
        rows(server.dsn(), _SYNCHRONOUS)
        rows(server.dsn(), "SELECT pg_reload_conf()")


def _received(replica: EmbeddedReplica) -> int:
    (row,) = rows(replica.dsn(), "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')::bigint AS bytes")
    return int(row["bytes"])
