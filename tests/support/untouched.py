"""Sees whether a request cost a hash or left anything behind."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from typing import Any, Final, Self

import asyncpg

from tests.support.client import Client
from tests.support.nodes import Node

_HASHES: Final = re.compile(r"^tidegate_hash_seconds_count(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)

# last_login is left out: the worker writes it when it comes to it, for logins of earlier tests too.
_STORED: Final = """
SELECT
    (SELECT count(*) FROM users) AS users,
    (
        SELECT sum(hashtext((userid, username, email, phone_number, password, full_name, birth_date)::text)::bigint)
        FROM users
    ) AS users_hashed,
    (SELECT count(*) FROM sessions WHERE revoked_at IS NULL) AS sessions,
    (SELECT sum(generation) FROM sessions WHERE revoked_at IS NULL) AS refreshes
"""


class Watch:
    """Counts the hashes of a node and what its database holds."""

    def __init__(self, node: Node) -> None:
        self._metrics = Client(node.metrics_port)
        self._loop = asyncio.Runner()
        self._connection = self._loop.run(asyncpg.connect(node.dsn))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()
        self._loop.run(self._connection.close())
        self._loop.close()

    def hashes(self) -> float:
        """How many hashes the node has made since it started."""
        return sum(float(count) for count in _HASHES.findall(self._metrics.get("/metrics").body.decode()))

    def stored(self) -> dict[str, Any]:
        """What there is of users and live sessions."""
        return dict(self._loop.run(self._connection.fetchrow(_STORED)) or {})

    @contextlib.contextmanager
    def nothing_hashed(self) -> Iterator[None]:
        """Assert that the block costs no hash."""
        before = self.hashes()
        yield
        assert self.hashes() == before, "something was hashed"

    @contextlib.contextmanager
    def nothing_hashed_nor_stored(self) -> Iterator[None]:
        """Assert that the block costs no hash and leaves every user and session as it was."""
        stored = self.stored()
        with self.nothing_hashed():
            yield
        assert self.stored() == stored, "something was stored"
