"""The fault of a job that always fails: it holds up nobody, ends among the dead, and is done once its cause is removed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from tests.faults.stages import Stage
from tests.faults.strangers import strangers
from tests.support.tables import change, rows, value

_DOOMED: Final = 3
_WITHIN_S: Final = 60.0
_LOOK_S: Final = 0.5
"""A job that failed is tried again so soon, whatever its pause."""


def job_doomed(stage: Stage) -> None:
    """Jobs of some users fail at each try until they are dead, while others go on; then the cause is removed.

    Raises:
        AssertionError: Others wait for them, they do not die, or `tidegate jobs` does not tell of them.
    """
    dsn = stage.parts.dsn
    with strangers(stage, _DOOMED) as there:
        names = [stranger.person.username for stranger in there]
        users = [row["userid"] for row in rows(dsn, "SELECT userid FROM users WHERE username = ANY($1)", names)]
        change(dsn, "INSERT INTO ledger.doomed SELECT unnest($1::uuid[])", users)
        try:
            for stranger in there:
                stranger.session()
            stage.hold()
            _let_all_others_be_done(dsn, users)
            jobs = _let_them_die(dsn, users)
            told = {each["job"] for each in json.loads(_say(stage, "list", "--dead", "--limit", "1000", "--json"))}
            assert set(jobs) <= told, f"{jobs} are dead, and `tidegate jobs` tells of {told}"
        finally:
            change(dsn, "DELETE FROM ledger.doomed")
        for job in jobs:
            _say(stage, "retry", str(job))


def _let_all_others_be_done(dsn: str, doomed: Sequence[UUID]) -> None:
    """What was put before now by others must go, though the doomed fail and wait beside it."""
    latest = value(dsn, "SELECT max(job_id) FROM jobs")
    others = "SELECT count(*) FROM jobs WHERE job_id <= $1 AND user_id <> ALL ($2::uuid[])"
    _await(lambda: value(dsn, others, latest, doomed) == 0, "others wait for a job that always fails")


def _let_them_die(dsn: str, doomed: Sequence[UUID]) -> list[int]:
    """Cut their pauses short until none is left; which they were."""

    def are_dead() -> bool:
        change(dsn, "UPDATE jobs SET due_at = now() WHERE user_id = ANY ($1) AND error IS NOT NULL", doomed)
        return not rows(dsn, "SELECT FROM jobs WHERE user_id = ANY ($1)", doomed)

    _await(are_dead, "a job that always fails does not die")
    dead = [row["job_id"] for row in rows(dsn, "SELECT job_id FROM dead_jobs WHERE user_id = ANY ($1)", doomed)]
    assert len(dead) >= len(doomed), f"{len(dead)} jobs of {len(doomed)} users are among the dead"
    return dead


def _await(is_so: Callable[[], bool], complaint: str) -> None:
    give_up_at = time.monotonic() + _WITHIN_S
    while not is_so():
        assert time.monotonic() < give_up_at, complaint
        time.sleep(_LOOK_S)


def _say(stage: Stage, *words: str) -> str:
    """What `tidegate jobs` answers."""
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", "jobs", *words],
        env=dict(stage.parts.operator),
        cwd=stage.parts.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
