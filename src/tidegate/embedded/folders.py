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


def make_socket_folder(*, prefix: str, socket_name: str, note: Path, user: SystemUser) -> Path:
    """Make a folder of mode 0700 for one socket, under the temporary folder because a socket's path must be short.

    Args:
        prefix: How its name begins.
        socket_name: What will be made in it.
        note: A file that remembers the folder, so that the one that a killed server left is removed.
        user: Whose it is to be.

    Raises:
        OSError: It cannot be made.
    """
    with contextlib.suppress(FileNotFoundError):
        left = Path(note.read_text().strip())
        if left.name.startswith(prefix) and left.lstat().st_uid == user.uid:
            shutil.rmtree(left, ignore_errors=True)
    longest = len(f"/{prefix}12345678/{socket_name}")
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) + longest > _SOCKET_PATH_BYTES_MAX or closed_folder_above(Path(parent, "_"), user):
        parent = "/tmp"  # noqa: S108 - mkdtemp makes an unguessable folder of mode 0700 in it
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    if user.uid != os.geteuid():
        os.chown(folder, user.uid, user.gid)
    note.write_text(f"{folder}\n")
    return folder
