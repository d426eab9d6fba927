"""One write for all logins of a batch, and the latest of each user wins."""

from asyncio import run
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.fakes.tokens import nth_user
from tidegate.domain.jobs import LoginSucceeded
from tidegate.usecases.record_logins import RecordLogins

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class NotedBatch:
    """Implements `ports.JobBatch`: notes what was asked of it."""

    def __init__(self, *logins: LoginSucceeded) -> None:
        self.logins: Sequence[LoginSucceeded] = logins
        self.recorded: list[Mapping[UUID, datetime]] = []

    async def record_last_logins(self, latest: Mapping[UUID, datetime]) -> None:
        self.recorded.append(latest)


def test_each_user_is_recorded_once_with_the_latest_login_in_whatever_order_they_stand() -> None:
    ada, bob = nth_user(1), nth_user(2)
    later, latest = NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)
    batch = NotedBatch(
        LoginSucceeded(ada, later), LoginSucceeded(bob, NOON), LoginSucceeded(ada, latest), LoginSucceeded(ada, NOON)
    )
    run(RecordLogins()(batch))
    assert batch.recorded == [{ada: latest, bob: NOON}]


def test_an_empty_batch_writes_nothing() -> None:
    batch = NotedBatch()
    run(RecordLogins()(batch))
    assert batch.recorded == []
