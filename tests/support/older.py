"""An older release, from this repository's history: the code that runs while this one is rolled out."""

import contextlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from tests.support.commands import ROOT, environment_with

COMMIT: Final = "e9729b25338e8f5f70ede340da135778d595a3bf"
"""The last with one node only: its schema ends with migration 0004, and it gives no notice before it stops."""

LAST_VERSION: Final = "0004"


@dataclass(frozen=True)
class OlderRelease:
    """Its package, unpacked.

    Attributes:
        source: What PYTHONPATH names so that its code runs, with the interpreter and the wheels of ours.
    """

    source: Path

    def migrate_up(self, dsn: str) -> None:
        """Make its schema."""
        done = self._run("-m", "tidegate", "migrate", "up", dsn=dsn)
        assert done.splitlines()[-1].startswith(f"applied {LAST_VERSION} "), done

    def package(self) -> Path:
        """The package that an interpreter told of `source` finds."""
        return Path(self._run("-c", "import tidegate; print(tidegate.__file__)").strip()).parent

    def _run(self, *words: str, dsn: str = "") -> str:
        environment = environment_with({"PRIMARY_DSN": dsn}) | {"PYTHONPATH": str(self.source)}
        done = subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def older_release() -> Iterator[OlderRelease]:
    """Unpack it; nothing is left at the end."""
    archived = subprocess.run(["git", "archive", COMMIT, "src"], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert archived.returncode == 0, f"this test needs the history (git fetch --unshallow): {archived.stderr.decode()}"
    with tempfile.TemporaryDirectory(prefix="tidegate-older-") as folder:
        with tarfile.open(fileobj=BytesIO(archived.stdout)) as archive:
            archive.extractall(folder, filter="data")
        release = OlderRelease(Path(folder) / "src")
        assert release.package() == release.source / "tidegate"
        yield release
