"""Who is found, added and known to exist."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.users import LoginIdentifier, NewUser, StoredCredentials


class UserFinder(Protocol):
    """Finds users by name."""

    async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """The credentials of whoever has *identifier*, or None: nobody is not an error."""


class UserReader(UserFinder, Protocol):
    """Finds users. Every answer is as fresh as if the primary had been asked."""

    async def credentials(self, user_id: UUID) -> StoredCredentials | None:
        """The credentials of *user_id*, or None."""


class NearbyUsers(Protocol):
    """Finds users wherever reading is cheapest. Another type than `UserFinder`, for an answer may lag the primary."""

    async def find_nearby(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """The credentials of whoever has, or a moment ago had, *identifier*; None: nobody has it, and that does not lag.

        Where they `may_lag`, nobody may be refused for them before a `UserReader` has confirmed them; that they suffice,
        the session's own write confirms (promises P2, P3, P9).
        """


class UserWriter(Protocol):
    """Changes users on the primary."""

    async def add(self, user: NewUser, *, once: KeyedRequest | None = None) -> None:
        """Store *user*; when this returns, the user can log in and survives a crash (promise P1).

        Args:
            user: With an id that nobody has.
            once: The request that asks for it, if it has an idempotency key: user and key are stored, or neither.

        Raises:
            IdempotencyKeyTaken: A request with the key of *once* took effect before; *user* was not stored.
            IdentifierTaken: The database holds one of the identifiers already, however many tried at once.
        """

    async def rehash(self, user_id: UUID, *, old: str, new: str) -> bool:
        """Replace the stored password *old* by *new*, a hash of the same password; False if *old* is no longer current."""


class ExistenceFilter(Protocol):
    """Knows of most names that nobody has them, without asking anybody (DESIGN 5.2, ADR 0014)."""

    def might_contain(self, identifier: LoginIdentifier) -> bool:
        """False: this node has not heard of anybody who has *identifier*; others may have. True is a guess.

        While the filter is not loaded, everything might be in it.
        """

    def lacks(self, identifier: LoginIdentifier) -> bool:
        """Whether it is proven that nobody has *identifier* at this moment; False says nothing."""

    def add(self, identifiers: Sequence[LoginIdentifier]) -> int | None:
        """Note *identifiers*, whose user is about to be added: from now on the filter might contain them, in every process.

        Returns:
            The note that the database is to be given with the user; None: the filter is held by another process at this
            moment, and nothing was noted.
        """
