"""Sessions in a dictionary: what `SessionsContract` promises, without a database."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.contract.jobs import LoginPut
from tests.fakes.users import InMemoryUsers
from tidegate.domain.claims import RefreshGrant
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.sessions import FIRST_GENERATION, Fate, NewSession, Rotation, SessionLifetimes, SessionView

LIFETIMES = SessionLifetimes(idle_s=14 * 86_400, absolute_s=90 * 86_400, reuse_grace_s=10)


class HandClock:
    """Implements `ports.clock.Clock`: goes only when it is told to."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass
class _Row:
    view: NewSession
    created_at: datetime
    last_used_at: datetime
    idle_expires_at: datetime
    absolute_expires_at: datetime
    generation: int = FIRST_GENERATION
    rotated_at: datetime | None = None
    revoked_at: datetime | None = None


class InMemorySessions:
    """Implements `ports.sessions.Sessions` and `ports.sessions.SessionRemoval` beside an `InMemoryUsers`.

    Attributes:
        clock: The primary's.
        jobs: Every job that was put, in order.
    """

    def __init__(
        self, users: InMemoryUsers, *, clock: HandClock | None = None, lifetimes: SessionLifetimes = LIFETIMES
    ) -> None:
        self.clock = clock or HandClock()
        self.jobs: list[LoginPut] = []
        self._users = users
        self._lifetimes = lifetimes
        self._rows: dict[UUID, _Row] = {}

    async def open(self, session: NewSession, *, relied_on: str) -> bool:
        if self._users.stored_password(session.user_id) != relied_on:
            return False
        self._add(session)
        self.jobs.append(LoginPut(session.user_id, self.clock.now()))
        return True

    async def rotate(self, grant: RefreshGrant) -> Rotation:
        row = self._live(grant.session_id)
        if row is None or row.generation < grant.generation:
            return Rotation(Fate.DEAD, None)
        now = self.clock.now()
        if row.generation == grant.generation:
            row.generation += 1
            row.last_used_at = row.rotated_at = now
            row.idle_expires_at = min(now + timedelta(seconds=self._lifetimes.idle_s), row.absolute_expires_at)
            return Rotation(Fate.ROTATED, row.view.user_id)
        grace = timedelta(seconds=self._lifetimes.reuse_grace_s)
        if row.generation == grant.generation + 1 and row.rotated_at is not None and now - row.rotated_at <= grace:
            return Rotation(Fate.REPEATED, row.view.user_id)
        row.revoked_at = now
        return Rotation(Fate.REUSED, row.view.user_id)

    async def is_live(self, session_id: UUID) -> bool:
        return self._live(session_id) is not None

    async def of_user(self, user_id: UUID) -> list[SessionView]:
        live = [row for row in self._of(user_id) if self._live(row.view.session_id)]
        live.sort(key=lambda row: (row.last_used_at, row.view.session_id), reverse=True)
        return [
            SessionView(
                session_id=row.view.session_id,
                created_at=row.created_at,
                last_used_at=row.last_used_at,
                expires_at=row.idle_expires_at,
                device=row.view.device,
                address=row.view.address,
            )
            for row in live[:100]
        ]

    async def revoke(self, session_id: UUID, *, user_id: UUID | None = None) -> bool:
        row = self._rows.get(session_id)
        if row is None or row.revoked_at is not None or user_id not in {None, row.view.user_id}:
            return False
        was_live = self._live(session_id) is not None
        row.revoked_at = self.clock.now()
        return was_live

    async def revoke_all(self, user_id: UUID, *, but: UUID | None = None) -> int:
        others = [row.view.session_id for row in self._of(user_id) if row.view.session_id != but]
        return sum([await self.revoke(session_id) for session_id in others])

    async def change_password(self, new: NewSession, *, old: str, stored: str, once: KeyedRequest | None = None) -> bool:
        self._users.keys.refuse_if_taken(once)
        if not self._users.replace_password(new.user_id, old=old, new=stored):
            return False
        await self.revoke_all(new.user_id)
        self._add(new)
        self._users.keys.take(once, new.session_id)
        return True

    async def remove_dead(self, *, dead_for_s: float, at_most: int) -> int:
        horizon = self.clock.now() - timedelta(seconds=dead_for_s)
        dead = [key for key, row in self._rows.items() if (row.revoked_at or row.idle_expires_at) < horizon][:at_most]
        for session_id in dead:
            del self._rows[session_id]
        return len(dead)

    async def disable(self, user_id: UUID) -> None:
        """What the CLI does to a user."""
        self._users.mark_disabled(user_id)
        await self.revoke_all(user_id)

    async def delete(self, user_id: UUID) -> None:
        """What the CLI does to a user."""
        await self.revoke_all(user_id)
        self._users.remove(user_id)

    def is_revoked(self, session_id: UUID) -> bool:
        """Whether the session is kept as revoked."""
        row = self._rows.get(session_id)
        return row is not None and row.revoked_at is not None

    @property
    def count(self) -> int:
        """How many sessions are kept, live or not."""
        return len(self._rows)

    def _add(self, session: NewSession) -> None:
        now = self.clock.now()
        absolute = now + timedelta(seconds=self._lifetimes.absolute_s)
        idle = min(now + timedelta(seconds=self._lifetimes.idle_s), absolute)
        self._rows[session.session_id] = _Row(session, now, now, idle, absolute)

    def _of(self, user_id: UUID) -> list[_Row]:
        return [row for row in self._rows.values() if row.view.user_id == user_id]

    def _live(self, session_id: UUID) -> _Row | None:
        row = self._rows.get(session_id)
        if row is None or row.revoked_at is not None or row.idle_expires_at <= self.clock.now():
            return None
        return None if self._users.stored_password(row.view.user_id) is None else row
