"""Two nodes over one database and one NATS, and a worker that tells each what the other changes."""

import base64
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.databases import drop_database, make_migrated_database
from tests.support.lines import api_processes
from tests.support.measures import measure
from tests.support.nats_servers import own_nats
from tests.support.nodes import Node, running_node, running_worker
from tests.support.waiting import until
from tidegate.embedded.nats import EmbeddedNats
from tidegate.embedded.postgres import EmbeddedPostgres

_ISSUER = "http://two-nodes.example"


@dataclass(frozen=True)
class TwoNodes:
    """What runs.

    Attributes:
        here: The node where things are changed.
        there: The node that has to hear of them.
        worker: The process with the relay.
        queue: The NATS between them.
        database: The name of their database.
    """

    here: Node
    there: Node
    worker: "subprocess.Popen[bytes]"
    queue: EmbeddedNats
    database: str

    def processes(self, node: Node) -> list[int]:
        """All of *node*."""
        return [node.process.pid, *api_processes(node)]

    def until_fed(self) -> None:
        """Wait until both nodes hear of everything through the queue."""
        until(
            lambda: measure(self.here, "tidegate_feed_by_queue") == measure(self.there, "tidegate_feed_by_queue") == 1,
            "the nodes do not hear of one another through the queue",
        )


@contextlib.contextmanager
def two_nodes(postgres: EmbeddedPostgres, **settings: str) -> Iterator[TwoNodes]:
    """Start them, each with one API process and *settings*; nothing is left at the end."""
    with contextlib.ExitStack() as opened:
        folders = [Path(tempfile.mkdtemp(prefix="tidegate-node-")) for _ in range(2)]
        for folder in folders:
            opened.callback(shutil.rmtree, folder, ignore_errors=True)
        name = make_migrated_database(postgres)
        opened.callback(drop_database, postgres, name)
        queue = opened.enter_context(own_nats())
        common = {
            "API_PROCESSES": "1",
            "ISSUER": _ISSUER,
            "QUEUE_URL": queue.url,
            "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="),
            **settings,
        }
        here = opened.enter_context(running_node(postgres.dsn(name), folders[0], **common))
        keys = {"SIGNING_KEYS_FILE": str(here.keys_file)}
        there = opened.enter_context(running_node(postgres.dsn(name), folders[1], **common, **keys))
        worker = opened.enter_context(running_worker(here))
        yield TwoNodes(here, there, worker, queue, name)
