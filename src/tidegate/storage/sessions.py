"""Sessions in PostgreSQL: what makes one live, and every race about it, is settled by what sql/sessions.sql says."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from tidegate.domain.claims import RefreshGrant
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.jobs import JobKind
from tidegate.domain.sessions import Fate, NewSession, Rotation, SessionLifetimes, SessionView
from tidegate.storage.coalescing import BATCH_KEYS_MAX, WRITES_AT_ONCE_MAX, Coalescer
from tidegate.storage.idempotency import take_key
from tidegate.storage.pools import PrimaryPool

_SHOWN_MAX: Final = 100
"""How many sessions a user is shown (`ports.sessions.Sessions.of_user`)."""


class PostgresSessions:
    """`ports.sessions.Sessions`, and the removal of dead ones."""

    def __init__(self, pool: PrimaryPool, *, lifetimes: SessionLifetimes) -> None:
        """Take the connections and the rules.

        Args:
            pool: To the primary.
            lifetimes: For sessions opened or refreshed from now on. The idle one is never above the absolute one.
        """
        self._pool = pool
        self._idle = timedelta(seconds=min(lifetimes.idle_s, lifetimes.absolute_s))
        self._absolute = timedelta(seconds=lifetimes.absolute_s)
        self._grace = timedelta(seconds=lifetimes.reuse_grace_s)
        self._open_together = Coalescer(self._open_all, keys_max=BATCH_KEYS_MAX, batches_max=WRITES_AT_ONCE_MAX)
        self._rotate_together = Coalescer(self._rotate_all, keys_max=BATCH_KEYS_MAX, batches_max=WRITES_AT_ONCE_MAX)

    async def open(self, session: NewSession, *, relied_on: str) -> bool:
        """See `ports.sessions.Sessions.open`."""
        return bool(await self._open_together((session, relied_on))) or await self._open_alone(session, relied_on)

    async def _open_all(self, asked: list[tuple[NewSession, str]]) -> dict[tuple[NewSession, str], bool]:
        if len(asked) == 1:
            return {}  # nobody to share with: the statement that waits does it in one round trip
        sessions = [session for session, _ in asked]
        rows = await self._pool.fetch(
            "open_sessions",
            [session.user_id for session in sessions],
            [relied_on for _, relied_on in asked],
            [session.session_id for session in sessions],
            self._idle,
            self._absolute,
            [session.device for session in sessions],
            [session.address for session in sessions],
        )
        opened = {row[0] for row in rows}
        return {key: True for key in asked if key[0].session_id in opened}

    async def _open_alone(self, session: NewSession, relied_on: str) -> bool:
        opened = await self._pool.fetchrow(
            "open_session",
            session.user_id,
            relied_on,
            session.session_id,
            self._idle,
            self._absolute,
            session.device,
            session.address,
        )
        return opened is not None

    async def rotate(self, grant: RefreshGrant) -> Rotation:
        """See `ports.sessions.Sessions.rotate`."""
        user_id = await self._rotate_together(grant)
        if user_id is not None:
            return Rotation(Fate.ROTATED, user_id)
        rotated = await self._pool.fetchrow("rotate_session", grant.session_id, grant.generation, self._idle)
        if rotated is not None:
            return Rotation(Fate.ROTATED, rotated["user_id"])
        stale = await self._pool.fetchrow("judge_stale_generation", grant.session_id, grant.generation, self._grace)
        if stale is None:
            return Rotation(Fate.DEAD, None)
        if not stale["is_reused"]:
            return Rotation(Fate.REPEATED, stale["user_id"])
        if await self._revoke(grant.session_id, None, JobKind.REFRESH_REUSED):
            return Rotation(Fate.REUSED, stale["user_id"])
        return Rotation(Fate.DEAD, None)  # somebody else has just revoked it

    async def _rotate_all(self, asked: list[RefreshGrant]) -> dict[RefreshGrant, UUID]:
        """Rotate what can be rotated without waiting; equal grants of a batch share their successor, as racing ones do."""
        if len(asked) == 1:
            return {}  # nobody to share with: the statement that waits does it in one round trip
        rows = await self._pool.fetch(
            "rotate_sessions", [grant.session_id for grant in asked], [grant.generation for grant in asked], self._idle
        )
        return {RefreshGrant(row["session_id"], row["rotated"]): row["user_id"] for row in rows}

    async def is_live(self, session_id: UUID) -> bool:
        """See `ports.sessions.Sessions.is_live`."""
        return await self._pool.fetchrow("live_session", session_id) is not None

    async def of_user(self, user_id: UUID) -> list[SessionView]:
        """See `ports.sessions.Sessions.of_user`."""
        return [
            SessionView(
                session_id=row["session_id"],
                created_at=row["created_at"],
                last_used_at=row["last_used_at"],
                expires_at=row["idle_expires_at"],
                device=row["device"],
                address=row["address"],
            )
            for row in await self._pool.fetch("live_sessions_of_user", user_id, _SHOWN_MAX)
        ]

    async def revoke(self, session_id: UUID, *, user_id: UUID | None = None) -> bool:
        """See `ports.sessions.Sessions.revoke`."""
        return await self._revoke(session_id, user_id, JobKind.SESSION_REVOKED)

    async def _revoke(self, session_id: UUID, user_id: UUID | None, why: JobKind) -> bool:
        revoked = await self._pool.fetchrow("revoke_session", session_id, user_id, why)
        return revoked is not None and bool(revoked["was_live"])

    async def revoke_all(self, user_id: UUID, *, but: UUID | None = None) -> int:
        """See `ports.sessions.Sessions.revoke_all`."""
        revoked = await self._pool.fetch("revoke_sessions_of_user", user_id, but)
        return sum(row["was_live"] for row in revoked)

    async def change_password(self, new: NewSession, *, old: str, stored: str, once: KeyedRequest | None = None) -> bool:
        """See `ports.sessions.Sessions.change_password`."""
        try:
            await self._change_password(new, old, stored, once)
        except _PasswordMovedOn:
            return False
        return True

    async def _change_password(self, new: NewSession, old: str, stored: str, once: KeyedRequest | None) -> None:
        async with self._pool.transaction() as work:
            if once is not None:
                await take_key(work, once, made=new.session_id)
            if await work.fetchrow("lock_user_of_password", new.user_id, old) is None:
                raise _PasswordMovedOn  # takes the key back too
            await work.fetchrow("replace_password", new.user_id, stored)
            await work.fetch("revoke_sessions_of_user", new.user_id, None)
            await work.fetchrow(
                "continue_session",
                new.session_id,
                new.user_id,
                self._idle,
                self._absolute,
                new.device,
                new.address,
            )

    async def remove_dead(self, *, dead_for_s: float, at_most: int) -> int:
        """See `ports.sessions.SessionRemoval.remove_dead`."""
        row = await self._pool.fetchrow("remove_dead_sessions", timedelta(seconds=dead_for_s), at_most)
        return 0 if row is None else int(row[0])


class _PasswordMovedOn(Exception):  # noqa: N818 - the end of a transaction, not an error
    """The stored password is not the one that the change relied on."""
