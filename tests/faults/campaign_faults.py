"""The faults that only a campaign feels: they hit those who are next in its line, and the workers while they serve it."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import asyncpg

from tests.faults.calling import Caller, Calls, Person
from tests.faults.disturbances import Disturbance
from tests.faults.first_logins import PASSWORD, FirstLogins
from tests.faults.stages import Stage
from tests.faults.strangers import all_at_once
from tests.support.tables import change, rows, value
from tidegate.domain.jobs import UNFINISHED
from tidegate.storage.statements import statements
from tidegate.tokens.ids import RandomIds

_WRITERS: Final = 4
_HELD_S: Final = (0.1, 1.5)
_COMMITTED_SHARE: Final = 0.75
_DOOMED: Final = 3
_WITHIN_S: Final = 20.0
_LOOK_S: Final = 0.1

_GRANTERS_THAT_WAIT: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    " AND application_name = 'tidegate' AND query LIKE '%FROM users%FOR NO KEY UPDATE%'"
)


def first_logins_late(stage: Stage, crowd: FirstLogins) -> None:
    """Logins that have drawn their places commit later than others that drew theirs after them, or never."""
    ending = threading.Event()

    def hold() -> None:
        stage.hold()
        ending.set()

    writers = [partial(_write_until, stage, crowd, random.Random(stage.chance.random()), ending) for _ in range(_WRITERS)]
    all_at_once([hold, *writers])


def _write_until(stage: Stage, crowd: FirstLogins, chance: random.Random, ending: threading.Event) -> None:
    async def write() -> None:
        connection = await asyncpg.connect(stage.parts.dsn)
        try:
            while not ending.is_set():
                for username in crowd.take(1):
                    await _open_session_late(connection, username, chance)
        finally:
            connection.terminate()

    asyncio.run(write())


async def _open_session_late(connection: asyncpg.Connection, username: str, chance: random.Random) -> None:
    """By the statement of a login whose client never hears of it."""
    user = await connection.fetchrow("SELECT userid, password FROM users WHERE username = $1", username)
    assert user is not None, username
    week = timedelta(days=7)
    transaction = connection.transaction()
    await transaction.start()
    values = (user["userid"], user["password"], RandomIds().session_id(), week, week, None, None)
    await connection.fetch(statements()["open_session"], *values)
    await asyncio.sleep(chance.uniform(*_HELD_S))
    if chance.random() < _COMMITTED_SHARE:
        await transaction.commit()
    else:
        await transaction.rollback()


def first_logins_doomed(stage: Stage, crowd: FirstLogins) -> None:
    """The jobs of some who are next fail at each try and die, while others come after them; then they are retried."""
    dsn = stage.parts.dsn
    names = crowd.take(_DOOMED)
    users = [row["userid"] for row in rows(dsn, "SELECT userid FROM users WHERE username = ANY ($1)", names)]
    change(dsn, "INSERT INTO ledger.doomed SELECT unnest($1::uuid[])", users)
    try:
        _log_in(stage, names)
        stage.hold()

        def are_dead() -> bool:
            change(dsn, "UPDATE jobs SET due_at = now() WHERE user_id = ANY ($1) AND error IS NOT NULL", users)
            return not rows(dsn, "SELECT FROM jobs WHERE user_id = ANY ($1) AND kind = 'login_succeeded'", users)

        _await(are_dead)
    finally:
        change(dsn, "DELETE FROM ledger.doomed")
    rows(dsn, statements()["retry_jobs"], None, UNFINISHED)


def _log_in(stage: Stage, names: Sequence[str]) -> None:
    calls = Calls("doomed", stage.recorder, Caller({node.name: node.front.port for node in stage.parts.nodes}))
    for name in names:
        for node in stage.parts.nodes:
            if calls.log_in(_Known({"username": name}), node.name, 0, "username")[0] == 200:
                break
    calls.caller.close()


class _Known(Person):
    """Somebody of the crowd."""

    def password(self, label: int) -> str:
        """Everybody's."""
        return PASSWORD


def line_held_up(stage: Stage, crowd: FirstLogins) -> None:
    """Somebody holds the rows of all who may be next, so that a worker stands still in the middle of granting."""
    _with_granters_waiting(stage, stage.hold)


def workers_killed_while_they_grant(stage: Stage, crowd: FirstLogins) -> None:
    """kill -9 of all workers while one stands in the middle of granting."""

    def kill() -> None:
        for worker in stage.parts.workers:
            worker.kill()

    _with_granters_waiting(stage, kill)
    stage.hold()
    for worker in stage.parts.workers:
        worker.start()


def _with_granters_waiting(stage: Stage, act: Callable[[], None]) -> None:
    async def hold() -> None:
        connection = await asyncpg.connect(stage.parts.dsn)
        try:
            async with connection.transaction():
                await connection.execute("SELECT FROM users ORDER BY userid FOR NO KEY UPDATE")
                await asyncio.to_thread(_await, lambda: value(stage.parts.dsn, _GRANTERS_THAT_WAIT) > 0)
                await asyncio.to_thread(act)
        finally:
            connection.terminate()

    asyncio.run(hold())


def _await(is_so: Callable[[], bool]) -> None:
    """Wait until *is_so*, within bounds; the fault is then what it can be."""
    give_up_at = time.monotonic() + _WITHIN_S
    while not is_so() and time.monotonic() < give_up_at:
        time.sleep(_LOOK_S)


def of_campaigns(crowd: FirstLogins) -> dict[str, Disturbance]:
    """These faults, as the others are, by name; they hit whoever *crowd* would let come next."""
    return {name: Disturbance(partial(_act, act, crowd)) for name, act in CAMPAIGN_FAULTS.items()}


def _act(act: Callable[[Stage, FirstLogins], None], crowd: FirstLogins, stage: Stage) -> None:
    act(stage, crowd)


CAMPAIGN_FAULTS: Final[dict[str, Callable[[Stage, FirstLogins], None]]] = {
    "first logins late": first_logins_late,
    "first logins doomed": first_logins_doomed,
    "line held up": line_held_up,
    "workers killed while they grant": workers_killed_while_they_grant,
}
