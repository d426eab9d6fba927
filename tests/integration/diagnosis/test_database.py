"""A real PostgreSQL is asked, as it is, as it is away, and as it is wrong."""

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.databases import make_migrated_database
from tidegate.diagnosis.database import examine_database
from tidegate.diagnosis.findings import Finding, Matter, Verdict
from tidegate.embedded.postgres import EmbeddedPostgres


def examined(dsn: str, *, connections: int = 9, timeout_s: float = 10) -> dict[Matter, Finding]:
    """What is said of it, by matter."""
    findings = asyncio.run(
        examine_database(dsn, connections=connections, connections_budget=90, connect_timeout_s=timeout_s)
    )
    return {each.matter: each for each in findings}


def verdicts(found: dict[Matter, Finding]) -> dict[Matter, Verdict]:
    return {matter: finding.verdict for matter, finding in found.items()}


def execute(dsn: str, statement: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


@pytest.fixture(scope="module")
def durable_postgres() -> Iterator[EmbeddedPostgres]:
    """As an operator would run it; that of the other tests forgets everything if the power fails."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)
    try:
        with EmbeddedPostgres(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_all_is_well_with_a_durable_primary_that_has_our_tables(durable_postgres: EmbeddedPostgres) -> None:
    found = examined(durable_postgres.dsn(make_migrated_database(durable_postgres)))
    assert verdicts(found) == dict.fromkeys(
        (
            Matter.DATABASE,
            Matter.CONNECTIONS,
            Matter.TRANSACTIONS,
            Matter.DURABILITY,
            Matter.CLOCK,
            Matter.MIGRATIONS,
        ),
        Verdict.OK,
    )
    assert ", the primary, " in found[Matter.DATABASE].says


def test_a_server_that_forgets_is_wrong(database: str) -> None:
    found = examined(database)
    assert found[Matter.DURABILITY].says.startswith("fsync=off: ")


def test_tables_that_are_missing_are_told(empty_database: str) -> None:
    finding = examined(empty_database)[Matter.MIGRATIONS]
    assert finding.verdict is Verdict.WRONG
    assert finding.says.startswith("the database lacks 0001")
    assert finding.advice == "tidegate migrate up"


def test_tables_of_tomorrow_are_told(database: str) -> None:
    execute(database, "INSERT INTO schema_migrations VALUES ('9999', 'post_of_tomorrow', repeat('a', 64))")
    assert "9999" in examined(database)[Matter.MIGRATIONS].says


def test_more_connections_than_there_are_is_wrong(database: str) -> None:
    assert examined(database, connections=10_000)[Matter.CONNECTIONS].verdict is Verdict.WRONG


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("SELECT FROM users", Verdict.OK),
        ("SELECT FROM users FOR UPDATE", Verdict.WARNING),
        ("DELETE FROM users", Verdict.WARNING),
    ],
)
def test_a_transaction_that_holds_rows_is_told_from_one_that_reads(
    database: str, statement: str, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.diagnosis.database._WRITES_FOR_S_MAX", 0.0)

    async def look() -> list[Finding]:
        holder = await asyncpg.connect(database)
        try:
            await holder.execute(f"BEGIN; {statement}")
            return await examine_database(database, connections=9, connections_budget=90, connect_timeout_s=10)
        finally:
            holder.terminate()

    (finding,) = [each for each in asyncio.run(look()) if each.matter is Matter.TRANSACTIONS]
    assert finding.verdict is verdict


def test_a_role_that_may_see_little_is_told_the_same(database: str) -> None:
    """It sees neither the type nor the state of others' sessions."""
    execute(database, "CREATE ROLE plain LOGIN; GRANT SELECT ON schema_migrations TO plain")
    try:
        found = examined(f"{database}{'&' if '?' in database else '?'}user=plain")
        assert found[Matter.DATABASE].verdict is Verdict.OK
        assert found[Matter.CONNECTIONS].verdict is Verdict.OK
        assert found[Matter.MIGRATIONS].verdict is Verdict.OK
    finally:
        execute(database, "DROP OWNED BY plain; DROP ROLE plain")


def test_no_way_to_it_is_the_only_finding(database: str, tmp_path: Path) -> None:
    found = examined(f"postgresql://tidegate:hunter2@/tidegate?host={tmp_path}")
    assert list(found) == [Matter.DATABASE]
    assert found[Matter.DATABASE].says == "no way to it (no such file or directory)"
    found = examined(database.replace("/test_", "/none_"))
    assert found[Matter.DATABASE].says == "there is no database of that name"


def test_who_accepts_and_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        found = examined(f"postgresql://tidegate@127.0.0.1:{port}/tidegate?sslmode=disable", timeout_s=0.2)
    assert found[Matter.DATABASE].says == "no answer in time"


def test_a_standby_is_told_from_a_primary() -> None:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)
    try:
        with EmbeddedPostgres(folder, durable=False):
            pass
        (configuration,) = folder.rglob("postgresql.conf")
        (configuration.parent / "standby.signal").touch()  # it waits for a primary that never comes
        with EmbeddedPostgres(folder, durable=False) as standby:
            found = examined(standby.dsn("postgres"))
        assert found[Matter.DATABASE].verdict is Verdict.WRONG
        assert ", a standby, " in found[Matter.DATABASE].says
    finally:
        shutil.rmtree(folder, ignore_errors=True)
