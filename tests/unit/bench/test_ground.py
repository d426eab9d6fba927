"""Peers stand on the PostgreSQL of the run, whose socket's folder every driver reads in its own way."""

import asyncio
from pathlib import Path

import pytest
from bench.ground import Ground
from bench.processes import Tree

GROUND = Ground(
    dsn="postgresql://tidegate@/tidegate?host=/tmp/tidegate-pg-x&port=5432",
    postgres=Tree(1),
    users=7,
    stored="$argon2id$v=19$m=1,t=2$c2FsdA$aGFzaA",
    folder=Path("/tmp/x"),
)


def test_a_dsn_names_the_socket_of_the_run():
    assert GROUND.dsn_of("peers") == "postgres://tidegate@/peers?host=/tmp/tidegate-pg-x&port=5432"
    assert (GROUND.role, GROUND.socket_folder, GROUND.port) == ("tidegate", "/tmp/tidegate-pg-x", "5432")


@pytest.mark.parametrize(("stored", "expected"), [(None, GROUND.stored), ("argon2$x", "argon2$x")])
def test_a_script_for_psql_gets_its_variables_and_runs_statement_by_statement(
    stored: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
):
    """VACUUM refuses to be one of several."""
    ran: list[str] = []

    class Connection:
        async def execute(self, statement: str) -> None:
            ran.append(statement)

        async def close(self) -> None:
            ran.append("closed")

    async def connect(dsn: str) -> Connection:
        assert dsn == GROUND.dsn_of("peers")
        return Connection()

    monkeypatch.setattr("asyncpg.connect", connect)
    script = "-- psql -v n=1\nSELECT :'hash', i::text, md5(':nx') FROM generate_series(1, :n) AS i;\nVACUUM;\n\n"
    asyncio.run(GROUND.run_script("peers", script, stored=stored))
    assert ran == [
        f"-- psql -v n=1\nSELECT '{expected}', i::text, md5(':nx') FROM generate_series(1, 7) AS i",
        "VACUUM",
        "closed",
    ]
