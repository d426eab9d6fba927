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


@contextlib.contextmanager
def two_own_nodes(
    postgres: EmbeddedPostgres, *, processes: tuple[int, int] = (1, 1), **settings: str
) -> Iterator[tuple[Node, Node]]:
    """Start two nodes of one installation with *settings*: one database and the same secrets.

    Args:
        processes: How many API processes each has.
    """
    with own_node(postgres, has_worker=False, API_PROCESSES=str(processes[0]), **settings) as first:
        folder = Path(tempfile.mkdtemp(prefix="tidegate-node-"))
        shared = {
            "REFRESH_MAC_KEY": first.environment["TIDEGATE_REFRESH_MAC_KEY"],
            "SIGNING_KEYS_FILE": str(first.keys_file),
            "ISSUER": f"http://127.0.0.1:{first.port}",
        }
        try:
            with running_node(first.dsn, folder, API_PROCESSES=str(processes[1]), **settings, **shared) as second:
                yield first, second
        finally:
            shutil.rmtree(folder, ignore_errors=True)
