"""Whom `feed.knowledge` asks and tells, and the time it goes by, as tests want them."""

from uuid import UUID

from tidegate.domain.errors import DatabaseUnavailable


class HandMonotonic:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class FakePrimary:
    """Knows which sessions are live; counts who asks."""

    def __init__(self, *live: UUID) -> None:
        self.live = set(live)
        self.asked = 0
        self.is_away = False

    async def is_live(self, session_id: UUID) -> bool:
        self.asked += 1
        if self.is_away:
            raise DatabaseUnavailable
        return session_id in self.live


class Watcher:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[UUID | str] = []

    def heard(self, user_id: UUID) -> None:
        self.told.append(user_id)

    def interrupted(self) -> None:
        self.told.append("interrupted")
