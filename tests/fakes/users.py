"""Users in a dictionary: what `UserStoreContract` promises, without a database."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from tests.fakes.idempotency import InMemoryIdempotencyKeys
from tidegate.domain.coupons import Coupon
from tidegate.domain.errors import FieldFault, IdentifierTaken
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.users import (
    DISABLED_MARK,
    IdentifierKind,
    LoginIdentifier,
    NewUser,
    Profile,
    ProfileChange,
    StoredCredentials,
)


@dataclass
class _Row:
    profile: Profile
    stored_password: str


class InMemoryUsers:
    """Implements the ports `UserReader`, `NearbyUsers`, `UserWriter` and `Profiles`; a test may also look, disable, delete.

    Attributes:
        found: How often somebody was looked up.
        added: As they were given.
        keys: Under which they were added, or their passwords changed.
    """

    def __init__(self) -> None:
        self.keys = InMemoryIdempotencyKeys()
        self._rows: dict[UUID, _Row] = {}
        self.found = 0
        self.added: list[NewUser] = []

    async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        self.found += 1
        for row in self._rows.values():
            if getattr(row.profile, identifier.kind.value) == identifier.value:
                return StoredCredentials(row.profile.user_id, row.stored_password)
        return None

    async def find_nearby(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        return await self.find(identifier)

    async def credentials(self, user_id: UUID) -> StoredCredentials | None:
        stored = self.stored_password(user_id)
        return None if stored is None else StoredCredentials(user_id, stored)

    async def profile(self, user_id: UUID) -> Profile | None:
        row = self._rows.get(user_id)
        return None if row is None else row.profile

    async def add(self, user: NewUser, *, noted_in: int = 0, once: KeyedRequest | None = None) -> None:
        self.keys.refuse_if_taken(once)
        for kind in IdentifierKind:
            value = getattr(user, kind.value)
            if value is not None and await self.find(LoginIdentifier(kind, value)) is not None:
                raise IdentifierTaken(FieldFault(kind.value, "taken"))
        profile = Profile(
            user_id=user.user_id,
            username=user.username,
            email=user.email,
            phone_number=user.phone_number,
            full_name=user.full_name,
            birth_date=user.birth_date,
            last_login=None,
            coupons=(),
        )
        self._rows[user.user_id] = _Row(profile, user.password_hash)
        self.added.append(user)
        self.keys.take(once, user.user_id)

    async def rehash(self, user_id: UUID, *, old: str, new: str) -> bool:
        return self.replace_password(user_id, old=old, new=new)

    async def change_profile(self, user_id: UUID, change: ProfileChange) -> Profile | None:
        row = self._rows.get(user_id)
        if row is None:
            return None
        if change.full_name is not None:
            row.profile = replace(row.profile, full_name=change.full_name)
        if change.birth_date is not None:
            row.profile = replace(row.profile, birth_date=change.birth_date)
        return row.profile

    async def forget(self, user_id: UUID) -> None:
        pass

    def stored_password(self, user_id: UUID) -> str | None:
        """The column as it stands; None if there is no such user."""
        row = self._rows.get(user_id)
        return None if row is None else row.stored_password

    def replace_password(self, user_id: UUID, *, old: str, new: str) -> bool:
        """Compare and set."""
        row = self._rows.get(user_id)
        if row is None or row.stored_password != old:
            return False
        row.stored_password = new
        return True

    def record_login(self, user_id: UUID, at: datetime) -> None:
        """What the worker does."""
        row = self._rows[user_id]
        row.profile = replace(row.profile, last_login=at)

    def show_coupons(self, user_id: UUID, *coupons: Coupon) -> None:
        """What grants say."""
        row = self._rows[user_id]
        row.profile = replace(row.profile, coupons=coupons)

    def mark_disabled(self, user_id: UUID) -> None:
        """The user's half of a disabling; the sessions are `InMemorySessions.disable`'s."""
        row = self._rows[user_id]
        row.stored_password = DISABLED_MARK + row.stored_password

    def remove(self, user_id: UUID) -> None:
        """The user's half of a deletion; the sessions are `InMemorySessions.delete`'s."""
        del self._rows[user_id]
