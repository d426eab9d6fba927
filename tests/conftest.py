"""What every test may ask for: a real PostgreSQL and a database of its own in it, a real Valkey that is empty."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import drop_database, make_database, make_migrated_database
from tests.support.valkeys import flush, own_valkey
from tidegate.embedded.postgres import EmbeddedPostgres
from tidegate.embedded.valkey import EmbeddedValkey


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the whole run; it forgets everything if the power fails, and ends with us even if we are killed."""
    # Not pytest's own folder: as root, PostgreSQL runs as another user, who must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)
    named = os.environ.get("TIDEGATE_POSTGRES_BIN")
    try:
        with EmbeddedPostgres(folder, durable=False, binaries=Path(named) if named else None) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a database without any table."""
    name = make_database(postgres)
    yield postgres.dsn(name)
    drop_database(postgres, name)


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a database of the test's own, with our tables in it."""
    name = make_migrated_database(postgres)
    yield postgres.dsn(name)
    drop_database(postgres, name)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[EmbeddedValkey]:
    """One server for the whole run."""
    with own_valkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: EmbeddedValkey) -> EmbeddedValkey:
    """A Valkey with nothing in it. Who freezes or kills it takes one of their own (`tests.support.valkeys`)."""
    flush(valkey_server)
    return valkey_server
