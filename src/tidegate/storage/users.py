"""Users in PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import UUID

from tidegate.domain.coupons import Coupon
from tidegate.domain.errors import FieldFault, IdentifierTaken
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.users import IdentifierKind, LoginIdentifier, NewUser, Profile, ProfileChange, StoredCredentials
from tidegate.storage.coalescing import BATCH_KEYS_MAX, READS_AT_ONCE_MAX, Coalescer
from tidegate.storage.connections import Row
from tidegate.storage.coupons import coupon_of
from tidegate.storage.failures import UniqueViolated
from tidegate.storage.idempotency import take_key
from tidegate.storage.pools import PrimaryPool

FIND_USERS: Final = {
    IdentifierKind.USERNAME: "find_users_by_username",
    IdentifierKind.EMAIL: "find_users_by_email",
    IdentifierKind.PHONE_NUMBER: "find_users_by_phone_number",
}
"""Statements that find users by one kind of name, on the primary or a replica."""

_IDENTIFIER_OF: Final = {
    "users_username_unique": IdentifierKind.USERNAME,
    "users_email_unique": IdentifierKind.EMAIL,
    "users_phone_number_unique": IdentifierKind.PHONE_NUMBER,
}
"""Which field is at fault when a constraint says no."""


class PostgresUsers:
    """`UserReader`, `NearbyUsers` and `UserWriter` of `ports.users`, and `ports.profiles.Profiles`, all by the primary."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool
        self._find = {
            kind: Coalescer(partial(self._find_all, statement), keys_max=BATCH_KEYS_MAX, batches_max=READS_AT_ONCE_MAX)
            for kind, statement in FIND_USERS.items()
        }
        self._profile = Coalescer(self._profiles, keys_max=BATCH_KEYS_MAX, batches_max=READS_AT_ONCE_MAX)

    async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """See `ports.users.UserReader.find`."""
        return await self._find[identifier.kind](identifier.value)

    find_nearby = find
    """See `ports.users.NearbyUsers.find_nearby`: without replicas nothing lags."""

    async def _find_all(self, statement: str, asked: list[str]) -> dict[str, StoredCredentials]:
        return {row[0]: StoredCredentials(row[1], row[2]) for row in await self._pool.fetch(statement, asked)}

    async def credentials(self, user_id: UUID) -> StoredCredentials | None:
        """See `ports.users.UserReader.credentials`."""
        return _credentials(await self._pool.fetchrow("user_credentials", user_id))

    async def profile(self, user_id: UUID) -> Profile | None:
        """See `ports.profiles.Profiles.profile`."""
        return await self._profile(user_id)

    async def _profiles(self, asked: list[UUID]) -> dict[UUID, Profile]:
        found: dict[UUID, Profile] = {}
        for row in await self._pool.fetch("user_profiles", asked):
            before = found.get(row["userid"])
            coupon = coupon_of(row)
            if before is None:
                found[row["userid"]] = _profile(row, () if coupon is None else (coupon,))
            elif coupon is not None:
                found[row["userid"]] = replace(before, coupons=(*before.coupons, coupon))
        return found

    async def add(self, user: NewUser, *, noted_in: int = 0, once: KeyedRequest | None = None) -> None:
        """See `ports.users.UserWriter.add`.

        Args:
            user: As there.
            noted_in: The note of the existence filter that has the user's names; 0: none has, so a node that decides alone
                has to give way first (ADR 0014).
            once: As there.
        """
        try:
            if once is None:
                await self._pool.fetchrow("add_user", *_columns(user), str(noted_in), user.campaign)
                return
            async with self._pool.transaction() as work:
                await take_key(work, once, made=user.user_id)
                await work.fetchrow("add_user", *_columns(user), str(noted_in), user.campaign)
        except UniqueViolated as violated:
            taken = _IDENTIFIER_OF.get(violated.constraint)
            if taken is None:
                raise
            raise IdentifierTaken(FieldFault(taken.value, "taken")) from None

    async def rehash(self, user_id: UUID, *, old: str, new: str) -> bool:
        """See `ports.users.UserWriter.rehash`."""
        return await self._pool.fetchrow("rehash_user", user_id, old, new) is not None

    async def change_profile(self, user_id: UUID, change: ProfileChange) -> Profile | None:
        """See `ports.profiles.Profiles.change_profile`."""
        row = await self._pool.fetchrow("change_profile", user_id, change.full_name, change.birth_date)
        return None if row is None else await self._profile(user_id)

    async def forget(self, user_id: UUID) -> None:
        """See `ports.profiles.Profiles.forget`: nothing is remembered here."""


def _columns(user: NewUser) -> tuple[object, ...]:
    """What add_user (sql/users.sql) stores."""
    return (
        user.user_id,
        user.username,
        user.email,
        user.phone_number,
        user.password_hash,
        user.full_name,
        user.birth_date,
    )


def _credentials(row: Row | None) -> StoredCredentials | None:
    return None if row is None else StoredCredentials(row[0], row[1])


def _profile(row: Row, coupons: tuple[Coupon, ...]) -> Profile:
    last_login: datetime | None = row["last_login"]
    return Profile(
        user_id=row["userid"],
        username=row["username"],
        email=row["email"],
        phone_number=row["phone_number"],
        full_name=row["full_name"],
        birth_date=row["birth_date"],
        last_login=None if last_login is None else last_login.replace(tzinfo=UTC),
        coupons=coupons,
    )
