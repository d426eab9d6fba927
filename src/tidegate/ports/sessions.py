"""Sessions: opened, refreshed, revoked, removed."""

from typing import Protocol
from uuid import UUID

from tidegate.domain.claims import RefreshGrant
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.sessions import NewSession, Rotation, SessionView


class Sessions(Protocol):
    """The sessions of all users, on the primary. Its clock is the only one that expires anything."""

    async def open(self, session: NewSession, *, relied_on: str) -> bool:
        """Open *session* and put the job `LOGIN_SUCCEEDED`, both or neither.

        Args:
            session: Of generation 0.
            relied_on: The stored password that the caller verified against.

        Returns:
            False, and nothing is written, if the user's stored password is not *relied_on* any more: changed, disabled or
            deleted meanwhile (promise P3). A change that commits later revokes the session that this opened.
        """

    async def rotate(self, grant: RefreshGrant) -> Rotation:
        """Replace the refresh token of *grant* by its successor, once (promises P5, P6, P7); see `Fate`."""

    async def is_live(self, session_id: UUID) -> bool:
        """Whether the session exists, its user too, and it is neither revoked nor expired."""

    async def of_user(self, user_id: UUID) -> list[SessionView]:
        """The live sessions of *user_id*, the latest used first, at most 100."""

    async def revoke(self, session_id: UUID, *, user_id: UUID | None = None) -> bool:
        """Revoke one session, of *user_id* only when that is given; False if there was no such live session."""

    async def revoke_all(self, user_id: UUID, *, but: UUID | None = None) -> int:
        """Revoke every live session of *user_id*, except *but*; how many there were."""

    async def change_password(self, new: NewSession, *, old: str, stored: str, once: KeyedRequest | None = None) -> bool:
        """Store *stored* as the password, revoke every session of the user and open *new*, all or nothing.

        Args:
            new: The session that the change continues in; its user is the one whose password changes.
            old: The stored password that the caller verified against.
            stored: The new password's hash.
            once: The request that asks for it, if it has an idempotency key: the key is stored with the change.

        Returns:
            False, and nothing is written, if *old* is not the stored password any more.

        Raises:
            IdempotencyKeyTaken: A request with the key of *once* took effect before; nothing was written.
        """


class Revocations(Protocol):
    """Tells whether a session has been revoked, without asking the database for each request."""

    async def is_revoked(self, session_id: UUID, *, lives_s: float) -> bool:
        """Whether an access token of *session_id* must be refused; true within 1 s of the revocation (DESIGN 5.4).

        A process that has lost the feed of revocations asks the primary instead.

        Args:
            session_id: As the token says.
            lives_s: How long the token is valid, from its issue to its expiry: longer than a revocation is remembered, if
                another node, or this one before it was started anew, has issued it with another setting.

        Raises:
            DatabaseUnavailable: The feed is lost and the primary does not answer.
        """


class SessionRemoval(Protocol):
    """Removes the sessions that nobody asks for any more."""

    async def remove_dead(self, *, dead_for_s: float, at_most: int) -> int:
        """Look at sessions that should be dead for *dead_for_s*, remove those that are, and return how many were looked at.

        Args:
            dead_for_s: At least as long as an access token may outlive its session: revocations are read from the rows.
            at_most: How many to look at; fewer in the answer means that there are no more.
        """
