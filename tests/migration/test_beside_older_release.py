"""The release before ours goes on while ours migrates, and ours does not begin before (docs/UPGRADING.md).

The files in release_0004 are that release's statements, as they were; the slow test beside a real balancer runs its code
(tests/integration/rolling).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.migration.conftest import until, visiting
from tests.support.client import fresh_phone_number
from tests.support.older import LAST_VERSION
from tidegate.migrations.errors import SchemaOlderThanProgram
from tidegate.migrations.folder import packaged_migrations
from tidegate.migrations.runner import Runner
from tidegate.storage.statements import split

FOLDER: Final = Path(__file__).with_name("release_0004")
OLD: Final = {name: text for file in sorted(FOLDER.iterdir()) for name, text in split(file.read_text("utf-8"))}
THEIRS: Final = [migration for migration in packaged_migrations() if migration.version <= LAST_VERSION]
OURS: Final = [migration for migration in packaged_migrations() if migration.version > LAST_VERSION]

DAY: Final = timedelta(days=1)
MARK: Final = "!"
CONNECTIONS: Final = 4

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Shape: TypeAlias = tuple[list[str], list[tuple[str, str]]]


class OldNode:
    """One connection of the old release, with its statements as it prepared them before the migration."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prepared: dict[str, asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]] = {}
        self.lives = 0

    async def _all(self, name: str, *values: object) -> list[asyncpg.Record]:
        if name not in self._prepared:
            self._prepared[name] = await self._connection.prepare(OLD[name])
        rows: list[asyncpg.Record] = await self._prepared[name].fetch(*values)
        return rows

    async def _one(self, name: str, *values: object) -> None:
        """Run a statement that finds just what it is asked for."""
        rows = await self._all(name, *values)
        assert len(rows) == 1, (name, rows)

    async def live(self) -> None:
        """All that can happen to a user, by the statements with which it happened."""
        user, name, phone_number = uuid4(), uuid4().hex, fresh_phone_number()
        async with self._connection.transaction():
            await self._one("add_user", user, name, f"{name}@example.com", phone_number, "old", None, None, "0")
        await self._one("find_users_by_username", [name])
        await self._one("find_users_by_email", [f"{name}@example.com"])
        await self._one("find_users_by_phone_number", [phone_number])
        await self._one("user_credentials", user)
        await self._use_sessions(user)
        await self._do_jobs()
        await self._one("change_profile", user, "Ada", None)
        await self._one("user_profiles", [user])
        await self._one("rehash_user", user, "old", "anew")
        await self._change_password(user)
        async with self._connection.transaction():
            await self._one("lock_user", user)
            await self._one("revoke_sessions_of_user", user, None)
            await self._all("delete_user", user)
        await self._all("recent_revocations", DAY)
        await self._all("remove_dead_sessions", DAY, 10)
        self.lives += 1

    async def _use_sessions(self, user: UUID) -> None:
        first, second = uuid4(), uuid4()
        await self._one("open_session", user, "old", first, DAY, DAY, "device", "127.0.0.1")
        await self._one("open_sessions", [user], ["old"], [second], DAY, DAY, ["device"], ["127.0.0.1"])
        await self._one("rotate_session", first, 0, DAY)
        await self._one("rotate_sessions", [second], [0], DAY)
        await self._one("judge_stale_generation", first, 0, DAY)
        await self._one("live_session", first)
        assert len(await self._all("live_sessions_of_user", user, 9)) == 2
        await self._one("revoke_session", first, user)

    async def _change_password(self, user: UUID) -> None:
        async with self._connection.transaction():
            await self._one("lock_user_of_password", user, "anew")
            await self._all("replace_password", user, "new")
            await self._one("revoke_sessions_of_user", user, None)
            await self._all("continue_session", uuid4(), user, DAY, DAY, "device", "127.0.0.1")
        async with self._connection.transaction():
            await self._one("lock_user", user)
            await self._one("disable_user", user, MARK)
        await self._one("enable_user", user, MARK)

    async def _do_jobs(self) -> None:
        async with self._connection.transaction():
            jobs = await self._all("take_jobs", ["login_succeeded"], 100)
            now = datetime.now(UTC)
            await self._all("record_last_logins", [job["user_id"] for job in jobs], [now for _ in jobs])
            await self._all("remove_jobs", [job["job_id"] for job in jobs])


def test_whoever_used_the_database_before_a_migration_uses_it_while_and_after_it_and_back(
    new_database: Callable[[], str],
) -> None:
    dsn = new_database()

    async def go() -> None:
        runner = Runner(dsn, attempt_pause_s=0.05)
        await runner.up(LAST_VERSION)
        async with AsyncExitStack() as opened:
            nodes = [OldNode(await opened.enter_async_context(visiting(dsn))) for _ in range(CONNECTIONS)]
            for node in nodes:
                await node.live()
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as living:
                for node in nodes:
                    living.create_task(_live_on(node, stop))
                for migration in OURS:
                    await runner.up(migration.version)
                    await _each_lives_on(nodes)
                for _ in OURS:
                    await runner.down()
                    await _each_lives_on(nodes)
                stop.set()

    asyncio.run(go())


async def _live_on(node: OldNode, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await node.live()


def _each_lives_on(nodes: list[OldNode]) -> Awaitable[None]:
    before = [node.lives for node in nodes]

    async def have() -> bool:
        # One that was under way, and one that began later.
        return all(node.lives >= lives + 2 for node, lives in zip(nodes, before, strict=True))

    return until(have)


def test_each_statement_of_the_release_before_takes_and_gives_what_it_did(new_database: Callable[[], str]) -> None:
    """All of them, also those that no user causes; new columns and types must not change what old code asks for."""
    before, after = new_database(), new_database()

    async def shapes(dsn: str, to: str | None) -> dict[str, Shape]:
        await Runner(dsn).up(to)
        async with visiting(dsn) as connection:
            return {name: _shape(await connection.prepare(text)) for name, text in OLD.items()}

    assert len(OLD) > 40
    assert asyncio.run(shapes(after, None)) == asyncio.run(shapes(before, LAST_VERSION))


def _shape(statement: "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]") -> Shape:
    given = [(attribute.name, attribute.type.name) for attribute in statement.get_attributes()]
    return [kind.name for kind in statement.get_parameters()], given


def test_the_release_before_starts_again_after_the_migration_and_ours_not_before_it(
    new_database: Callable[[], str],
) -> None:
    """A node that dies in the middle of a roll-out comes back, of whichever release it is."""
    dsn = new_database()
    asyncio.run(Runner(dsn).up(LAST_VERSION))
    with pytest.raises(SchemaOlderThanProgram) as refused:
        asyncio.run(Runner(dsn).check())
    assert refused.value.versions == tuple(migration.version for migration in OURS)
    asyncio.run(Runner(dsn).up())
    asyncio.run(Runner(dsn, migrations=THEIRS).check())
    asyncio.run(Runner(dsn).check())
