"""Folders that another user must be able to enter, or must not, whatever the caller's umask says."""

from pathlib import Path

from tidegate.embedded.children import SystemUser


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
