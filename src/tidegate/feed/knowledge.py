"""What this process knows of revocations, and until when it knows all of them, by whichever line it heard of them."""

import asyncio
import time
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol
from uuid import UUID

FORGET_MARGIN_S: Final = 60.0
"""How much longer than an access token may live its session is remembered.

A token is signed after its session was written, so by as long as a request may take it can be younger than the revocation;
the rest is for clocks that differ."""

_FORGOTTEN_AT_ONCE_MAX: Final = 10_000
"""A bound on what is forgotten at once, so that the event loop is never held up for more than a few milliseconds."""


class LiveSessions(Protocol):
    """Whom to ask while nothing is proven: the part of `ports.sessions.Sessions` that does it."""

    async def is_live(self, session_id: UUID) -> bool:
        """Whether the session is neither revoked nor expired, by the primary."""


class ProfileWatcher(Protocol):
    """Who wants to hear of changes of profiles, which come on the same lines."""

    def heard(self, user_id: UUID) -> None:
        """The profile of *user_id* has changed."""

    def interrupted(self) -> None:
        """Changes may have been missed; those from now on will be told."""


class Knowledge:
    """`ports.sessions.Revocations`: what is not known to be revoked is not revoked, for as long as that is proven.

    Any number of lines may tell at once. Each line, from its `begin` on, tells of every change or proves nothing more; and
    a line calls `prove` with a moment only if every revocation that was acknowledged before that moment has been noted
    here. So the latest of these moments counts, whichever line it came by; `is_revoked` compares it with the monotonic
    clock by itself, and no timer or task has to run for a silent line to be noticed.

    Profiles: what was remembered before a line began is forgotten (`ProfileWatcher.interrupted`), so whatever is still
    remembered was read while every line that can prove anything now was listening.
    """

    def __init__(
        self,
        *,
        primary: LiveSessions,
        access_token_ttl_s_max: float,
        trusted_s: float = 0.8,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with knowing nothing.

        Args:
            primary: Asked while nothing is proven.
            access_token_ttl_s_max: How long an access token may live, jitter included; of one that lives longer the primary
                is asked, for its revocation may be forgotten.
            trusted_s: How old the last proof may be; under 1 s for what `ports.sessions.Revocations` promises.
            monotonic: In seconds; tests hold it.
        """
        self._primary = primary
        self._access_token_ttl_s_max = access_token_ttl_s_max
        self.remembered_s: Final = access_token_ttl_s_max + FORGET_MARGIN_S
        self.trusted_s: Final = trusted_s
        self._monotonic = monotonic
        self._forget_at: dict[UUID, float] = {}  # about in the order of being forgotten, as revocations come in order
        self._known_until = float("-inf")
        self._is_proven = asyncio.Event()
        self._watchers: list[ProfileWatcher] = []

    def tell(self, watcher: ProfileWatcher) -> None:
        """Let *watcher* hear of changes of profiles; before any line begins."""
        self._watchers.append(watcher)

    async def is_revoked(self, session_id: UUID, *, lives_s: float = 0.0) -> bool:
        """See `ports.sessions.Revocations.is_revoked`."""
        if session_id in self._forget_at:
            return True
        if self.is_trusted and lives_s <= self._access_token_ttl_s_max:
            return False
        return not await self._primary.is_live(session_id)

    @property
    def is_trusted(self) -> bool:
        """Whether what is not known to be revoked is not revoked."""
        return self._monotonic() - self._known_until <= self.trusted_s

    @property
    def known_until(self) -> float:
        """Every revocation acknowledged before this moment is known; in seconds of the monotonic clock."""
        return self._known_until

    @property
    def age_s(self) -> float:
        """How old what is proven is; infinite before the first proof."""
        return self._monotonic() - self._known_until

    @property
    def remembered(self) -> int:
        """How many revoked sessions are known."""
        return len(self._forget_at)

    async def until_proven(self) -> None:
        """Wait until something has been proven once."""
        await self._is_proven.wait()

    def begin(self) -> None:
        """A line tells of every change from now on; what came before may have been missed."""
        for watcher in self._watchers:
            watcher.interrupted()

    def revoked(self, session_id: UUID, *, age_s: float = 0.0) -> None:
        """Note that *session_id* was revoked *age_s* ago."""
        self._forget_at.setdefault(session_id, self._monotonic() + self.remembered_s - age_s)

    def profile_changed(self, user_id: UUID) -> None:
        """Note that the profile of *user_id* was changed."""
        for watcher in self._watchers:
            watcher.heard(user_id)

    def prove(self, sent_at: float) -> None:
        """Every revocation acknowledged before *sent_at*, by the monotonic clock, has been noted."""
        self._known_until = max(self._known_until, sent_at)
        self._is_proven.set()

    def forget(self) -> None:
        """Drop the revocations of which no access token can be left; called now and then."""
        now = self._monotonic()
        oldest = list(islice(self._forget_at.items(), _FORGOTTEN_AT_ONCE_MAX))
        for session_id, forget_at in oldest:
            if forget_at > now:
                return
            del self._forget_at[session_id]
