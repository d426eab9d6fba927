"""A NATS server of a test's own that may be stopped, frozen, killed and emptied without harm to other tests."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.valkeys import frozen, kill
from tidegate.embedded.nats import EmbeddedNats

__all__ = ["frozen", "kill", "own_nats", "wipe"]


@contextlib.contextmanager
def own_nats() -> Iterator[EmbeddedNats]:
    """Start one in a folder of its own, which is gone at the end. `start` after `stop` or `kill` keeps its URL."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    try:
        with EmbeddedNats(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wipe(server: EmbeddedNats) -> None:
    """Kill *server*, and start it again with nothing of what it had stored, as when its disk is lost."""
    kill(server)
    shutil.rmtree(server.store)
    server.start()
