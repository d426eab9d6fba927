"""A real node and a real worker that the acceptance tests share; each test brings users of its own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, Person, Somebody
from tests.support.databases import drop_database, make_migrated_database
from tests.support.nodes import Node, running_node, running_worker
from tests.support.tables import value
from tests.support.untouched import Watch
from tests.support.waiting import until
from tidegate.embedded.postgres import EmbeddedPostgres

INTROSPECTION = ("resource-server", "a-secret-of-a-resource-server-0123456789")


@pytest.fixture(scope="session")
def shared_node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    """Two API processes and a worker, with the default settings but for an introspection client."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-node-"))
    name = make_migrated_database(postgres)
    settings = {
        "API_PROCESSES": "2",
        "INTROSPECTION_CLIENT_ID": INTROSPECTION[0],
        "INTROSPECTION_CLIENT_SECRET": INTROSPECTION[1],
    }
    try:
        with running_node(postgres.dsn(name), folder, **settings) as node, running_worker(node):
            yield node
    finally:
        drop_database(postgres, name)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def client(shared_node: Node) -> Iterator[Client]:
    """A connection of the test's own to the shared node."""
    client = shared_node.client()
    yield client
    client.close()


@pytest.fixture
def somebody(client: Client) -> Somebody:
    """A new user who has just logged in."""
    return client.somebody()


@pytest.fixture
def person(client: Client) -> Person:
    """A new user with all three login identifiers who has just logged in."""
    return client.person()


@pytest.fixture
def settled(shared_node: Node, person: Person) -> Person:
    """A person whose login the worker has written before any process read their profile, which it remembers for 5 s."""
    recorded = "SELECT last_login IS NOT NULL FROM users WHERE userid = $1::text::uuid"
    until(lambda: bool(value(shared_node.dsn, recorded, person.user_id)), "last_login was never written")
    return person


@pytest.fixture(scope="session")
def watch(shared_node: Node) -> Iterator[Watch]:
    """Who sees whether the shared node hashes or stores."""
    with Watch(shared_node) as watch:
        yield watch


@pytest.fixture(scope="module")
def bystander(shared_node: Node) -> Iterator[Person]:
    """A user who has logged in, whom the tests of a module share because none of them may change anything."""
    with shared_node.client() as client:
        yield client.person()
