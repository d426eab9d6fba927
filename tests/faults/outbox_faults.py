"""The fault of the outbox: rows that take their numbers early and commit late, in any order, or never.

Eight writers hold their transactions open, with jobs and changes put by the statements of the service itself. Whoever asks
for "the ids beyond the last one" passes some over. A job that was passed over is still there in the end
(`checkers.effects_once`), a change that was shows in a token that is let in (`checkers.revoked_use`), and one that was told
though it was rolled back in a token that is refused (`checkers.no_false_404`).
"""

import asyncio
import random
import threading
import time
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

import asyncpg

from tests.faults.calling import Session
from tests.faults.history import Kind
from tests.faults.stages import Stage
from tests.faults.strangers import Stranger, all_at_once, strangers
from tests.support.tables import value
from tidegate.domain.jobs import JobKind
from tidegate.feed.standby import STEADY_S
from tidegate.storage.revocations import APPLICATION_NAME
from tidegate.storage.statements import statements
from tidegate.tokens.ids import RandomIds

_WRITERS: Final = 8
_HELD_S: Final = (0.1, 3.0)
_COMMITTED_SHARE: Final = 0.75

_QUEUE_ALONE_S: Final = 1.5 * STEADY_S
_LOOK_S: Final = 0.1


def late_commits(stage: Stage) -> None:
    """Eight writers beside each other, each with one open transaction after the other, until the fault is over."""
    _wait_for_the_queue_alone(stage.parts.dsn)
    ending = threading.Event()

    def hold() -> None:
        stage.hold()
        ending.set()

    with strangers(stage, _WRITERS) as there:
        writers = [
            partial(_Writer(stage, stranger, random.Random(stage.chance.random())).write_until, ending)
            for stranger in there
        ]
        all_at_once([hold, *writers])


def _wait_for_the_queue_alone(dsn: str) -> None:
    """Until no node listens in the database: PostgreSQL tells of what is committed, and would hide a relay's fault."""
    give_up_at = time.monotonic() + _QUEUE_ALONE_S
    while time.monotonic() < give_up_at:
        if not value(dsn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", APPLICATION_NAME):
            return
        time.sleep(_LOOK_S)


class _Writer:
    """One client who is also one connection to the primary, past all lines."""

    def __init__(self, stage: Stage, stranger: Stranger, chance: random.Random) -> None:
        self._stage = stage
        self._stranger = stranger
        self._chance = chance

    def write_until(self, ending: threading.Event) -> None:
        """Open sessions and revoke some, at least one of each."""
        with asyncio.Runner() as runner:
            connection = runner.run(asyncpg.connect(self._stage.parts.dsn))
            try:
                while True:
                    runner.run(self._open_session(connection))
                    session = self._stranger.session()
                    if session is not None:
                        self._revoke(runner, connection, session)
                    if ending.is_set():
                        return
            finally:
                connection.terminate()

    async def _open_session(self, connection: asyncpg.Connection) -> None:
        """A job, by the statement of a login whose client never hears of it."""
        username = self._stranger.person.username
        user = await connection.fetchrow("SELECT userid, password FROM users WHERE username = $1", username)
        if user is None:
            return
        week = timedelta(days=7)
        values = (user["userid"], user["password"], RandomIds().session_id(), week, week, None, None)
        await self._held(connection, "open_session", *values)

    def _revoke(self, runner: asyncio.Runner, connection: asyncpg.Connection, session: Session) -> None:
        """A job and a change, by the statement of a logout; then its token is presented."""
        stranger = self._stranger
        with self._stage.recorder.call(
            Kind.LOGOUT,
            client=stranger.calls.name,
            node="primary",
            user=stranger.person.username,
            session=session.session_id,
            scope="this",
        ) as under_way:
            values = (UUID(session.session_id), None, JobKind.SESSION_REVOKED)
            is_committed = runner.run(self._held(connection, "revoke_session", *values))
            under_way.status = 200 if is_committed else 403
        if is_committed:
            stranger.present_overdue(session, time.monotonic())
        else:
            stranger.present(session)

    async def _held(self, connection: asyncpg.Connection, statement: str, *values: object) -> bool:
        """Run *statement*, hold its transaction for some time, and end it; whether by a commit."""
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch(statements()[statement], *values)
        await asyncio.sleep(self._chance.uniform(*_HELD_S))
        if self._chance.random() < _COMMITTED_SHARE:
            await transaction.commit()
            return True
        await transaction.rollback()
        return False
