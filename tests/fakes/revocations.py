"""The feed of revocations without a feed: it knows at once what the fake sessions know."""

from uuid import UUID

from tests.fakes.sessions import InMemorySessions
from tidegate.domain.errors import DatabaseUnavailable


class InMemoryRevocations:
    """Implements `ports.sessions.Revocations`.

    Attributes:
        is_lost: The feed is lost and the primary does not answer.
        lifetimes_s: Of the tokens that were asked about.
    """

    def __init__(self, sessions: InMemorySessions) -> None:
        self.is_lost = False
        self.lifetimes_s: list[float] = []
        self._sessions = sessions

    async def is_revoked(self, session_id: UUID, *, lives_s: float = 0.0) -> bool:
        self.lifetimes_s.append(lives_s)
        if self.is_lost:
            raise DatabaseUnavailable
        return self._sessions.is_revoked(session_id)
