"""Folders that another user must be able to enter, or must not, whatever the caller's umask says."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tidegate.embedded.children import SystemUser

_SOCKET_PATH_BYTES_MAX: Final = 107
"""unix(7): sun_path holds 108 bytes, the last of them NUL."""


def make_folder(path: Path, *, mode: int) -> None:
    """Make *path* with exactly *mode* where it is missing; folders missing above it can be entered by everybody.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    for missing in reversed([folder for folder in path.parents if not folder.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o755)
    path.mkdir(mode=0o700)
    path.chmod(mode)


def closed_folder_above(path: Path, user: SystemUser) -> Path | None:
    """The first folder on the way to *path* that *user* may not enter, by owner, group and mode; None: the way is open."""
    for folder in reversed(path.resolve().parents):
        found = folder.stat()
        shift = 6 if found.st_uid == user.uid else 3 if found.st_gid == user.gid else 0
        if not found.st_mode >> shift & 0o1:
            return folder
    return None


class SocketFolder:
    """A folder of mode 0700 for one socket, under the temporary folder because a socket's path must be short."""

    def __init__(self, *, prefix: str, socket_name: str, note: Path) -> None:
        """Nothing happens before `make`.

        Args:
            prefix: How its name begins.
            socket_name: What will be made in it.
            note: A file that remembers the folder, so that the one that a killed server left is removed.
        """
        self._prefix = prefix
        self._socket_name = socket_name
        self._note = note
        self._path: Path | None = None

    @property
    def path(self) -> Path | None:
        """Where it is; None when there is none."""
        return self._path

    def make(self, user: SystemUser) -> Path:
        """Make it *user*'s where it is missing, and empty it of what a server that died left in it.

        Raises:
            OSError: It cannot be made.
        """
        if self._path is None:
            self._path = self._made(user)
        for left in self._path.iterdir():
            left.unlink()
        return self._path

    def remove(self) -> None:
        """Remove it, and the note of it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._note.unlink(missing_ok=True)
            self._path = None

    def _made(self, user: SystemUser) -> Path:
        with contextlib.suppress(FileNotFoundError):
            left = Path(self._note.read_text().strip())
            if left.name.startswith(self._prefix) and left.lstat().st_uid == user.uid:
                shutil.rmtree(left, ignore_errors=True)
        longest = len(f"/{self._prefix}12345678/{self._socket_name}")
        parent = tempfile.gettempdir()
        if len(os.fsencode(parent)) + longest > _SOCKET_PATH_BYTES_MAX or closed_folder_above(Path(parent, "_"), user):
            parent = "/tmp"  # noqa: S108 - mkdtemp makes an unguessable folder of mode 0700 in it
        folder = Path(tempfile.mkdtemp(prefix=self._prefix, dir=parent))
        if user.uid != os.geteuid():
            os.chown(folder, user.uid, user.gid)
        self._note.write_text(f"{folder}\n")
        return folder
