"""The folder that one `tidegate up` keeps everything in: database, secrets, logs, and what it tells other commands."""

import base64
import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidegate.cli.exits import CANNOT_CREATE, FOREIGN_FOLDER, IN_USE, CommandFailed
from tidegate.embedded.children import SystemUser
from tidegate.embedded.folders import make_folder
from tidegate.settings_sources import WRITTEN_BY_UP
from tidegate.tokens.keys import create_key_file

_MAC_KEY_BYTES: Final = 32
"""As long as the output of the MAC's hash, SHA-256 (RFC 2104 section 3)."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A data folder that is ours alone while it is open.

    Attributes:
        path: Itself.
        was_killed: Whoever had it open last did not live to close it.
    """

    path: Path
    was_killed: bool

    @property
    def postgres(self) -> Path:
        """The database's part of it."""
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        """Where the cache's log lies."""
        return self.path / "valkey"

    @property
    def nats(self) -> Path:
        """Where the queue's log and what it stores lie."""
        return self.path / "nats"

    @property
    def settings(self) -> Path:
        """What other commands read."""
        return self.path / WRITTEN_BY_UP

    def log(self, name: str) -> Path:
        """Where the program *name* writes."""
        return self.path / "logs" / f"{name}.log"

    def signing_keys(self) -> Path:
        """The file of signing keys, made if it is missing."""
        path = self.path / "secrets" / "signing_keys.json"
        create_key_file(path)
        return path

    def refresh_mac_key(self) -> Path:
        """The file of the MAC key, made if it is missing."""
        path = self.path / "secrets" / "refresh_mac_key"
        if not path.exists():
            making = path.with_suffix(".making")
            making.unlink(missing_ok=True)
            with open(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(base64.urlsafe_b64encode(os.urandom(_MAC_KEY_BYTES)).decode().rstrip("=") + "\n")
                file.flush()
                os.fsync(file.fileno())
            making.rename(path)
        return path


@contextmanager
def open_data_folder(path: Path) -> Iterator[DataFolder]:
    """Make *path* where it is missing, and hold it against a second `tidegate up`.

    Raises:
        CommandFailed: It is another user's, it is in use, or it cannot be made.
    """
    _refuse_foreign(path)
    try:
        make_folder(path, mode=0o755)  # PostgreSQL's user must get through
        make_folder(path / "secrets", mode=0o700)
        make_folder(path / "logs", mode=0o750)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CommandFailed(
            CANNOT_CREATE, f"the data folder {path} cannot be made ({error.strerror}); name another with --data-dir"
        ) from None
    try:
        was_killed = _take(lock, path)
        yield DataFolder(path, was_killed)
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def _refuse_foreign(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        owner = SystemUser.of(path.stat().st_uid)
        us = SystemUser.current()
        if owner.uid != us.uid:
            raise CommandFailed(
                FOREIGN_FOLDER,
                f"the data folder {path} belongs to {owner.name}, and you are {us.name}; be {owner.name}, or name another "
                "with --data-dir",
            )


def _take(lock: int, path: Path) -> bool:
    """Lock it; whether the number of another process is still in it, who then ended without taking it out."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        raise CommandFailed(
            IN_USE, f"process {holder} runs Tidegate in {path} already; stop it, or name another folder with --data-dir"
        ) from None
    was_killed = bool(os.pread(lock, 32, 0).strip())
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return was_killed
