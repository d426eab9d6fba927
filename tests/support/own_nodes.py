"""A node of a test's own, with a database and a folder of its own, for other settings than the shared node has."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.databases import drop_database, make_migrated_database
from tests.support.nodes import Node, running_node, running_worker
from tidegate.embedded.postgres import EmbeddedPostgres


@contextlib.contextmanager
def own_node(postgres: EmbeddedPostgres, *, has_worker: bool = False, **settings: str) -> Iterator[Node]:
    """Start a node with *settings* (names without TIDEGATE_), and a worker if asked for; nothing is left at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-node-"))
    name = make_migrated_database(postgres)
    try:
        with (
            running_node(postgres.dsn(name), folder, **settings) as node,
            running_worker(node) if has_worker else contextlib.nullcontext(),
        ):
            yield node
    finally:
        drop_database(postgres, name)
        shutil.rmtree(folder, ignore_errors=True)
