"""What every store of users promises, whatever stores them."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from tests.contract.stories import told
from tidegate.domain.errors import FieldFault, IdentifierTaken
from tidegate.domain.users import IdentifierKind, LoginIdentifier, NewUser, Profile, ProfileChange, StoredCredentials
from tidegate.ports.profiles import Profiles
from tidegate.ports.users import UserReader, UserWriter

IDENTIFIERS = {
    IdentifierKind.USERNAME: "bob",
    IdentifierKind.EMAIL: "bob@example.org",
    IdentifierKind.PHONE_NUMBER: "+4930123456",
}


class UserStore(UserReader, UserWriter, Protocol):
    """Both halves of a store."""


class ProfileStore(UserWriter, Profiles, Protocol):
    """Users who can be added, and what they see of themselves."""


def new_user(
    *, username: str | None = None, email: str | None = None, phone_number: str | None = None, password_hash: str = "stored"
) -> NewUser:
    """A user of whom only what matters is said."""
    return NewUser(
        user_id=uuid4(),
        username=username,
        email=email,
        phone_number=phone_number,
        password_hash=password_hash,
        full_name=None,
        birth_date=None,
    )


def with_identifier(kind: IdentifierKind, value: str) -> NewUser:
    """A user who has just this one."""
    return new_user(**{kind.value: value})


async def add_bob(users: UserWriter) -> UUID:
    """A user with all three identifiers."""
    bob = NewUser(
        user_id=uuid4(),
        username=IDENTIFIERS[IdentifierKind.USERNAME],
        email=IDENTIFIERS[IdentifierKind.EMAIL],
        phone_number=IDENTIFIERS[IdentifierKind.PHONE_NUMBER],
        password_hash="stored",
        full_name="Bob Böhm",
        birth_date=date(2000, 2, 29),
    )
    await users.add(bob)
    return bob.user_id


class UserStoreContract:
    """What every UserReader and UserWriter on the same users promise."""

    def opened(self) -> AbstractAsyncContextManager[UserStore]:
        """One without users."""
        raise NotImplementedError

    @told
    async def test_who_was_added_is_found_by_each_identifier(self, users: UserStore) -> None:
        bob = await add_bob(users)
        for kind, value in IDENTIFIERS.items():
            assert await users.find(LoginIdentifier(kind, value)) == StoredCredentials(bob, "stored")
        assert await users.credentials(bob) == StoredCredentials(bob, "stored")

    @told
    async def test_nobody_is_none_and_not_an_error(self, users: UserStore) -> None:
        for kind, value in IDENTIFIERS.items():
            assert await users.find(LoginIdentifier(kind, value)) is None
        assert await users.credentials(uuid4()) is None
        assert await users.rehash(uuid4(), old="stored", new="rehashed") is False

    @told
    async def test_an_identifier_is_found_only_as_what_it_is(self, users: UserStore) -> None:
        await add_bob(users)
        for kind, value in IDENTIFIERS.items():
            for other in set(IdentifierKind) - {kind}:
                assert await users.find(LoginIdentifier(other, value)) is None

    @told
    async def test_look_up_is_exact(self, users: UserStore) -> None:
        """What is stored is what is looked up: the one normalisation has happened before."""
        await users.add(new_user(username="straße"))
        for almost in ("strasse", "Straße", "straße ", "stra\u00dfe\u0301"):
            assert await users.find(LoginIdentifier(IdentifierKind.USERNAME, almost)) is None

    @told
    async def test_a_taken_identifier_names_its_field(self, users: UserStore) -> None:
        await add_bob(users)
        for kind, value in IDENTIFIERS.items():
            with pytest.raises(IdentifierTaken) as refused:
                await users.add(with_identifier(kind, value))
            assert refused.value.faults == (FieldFault(kind.value, "taken"),)

    @told
    async def test_a_refused_user_leaves_nothing_behind(self, users: UserStore) -> None:
        await users.add(new_user(username="bob"))
        second = new_user(username="bob", email="other@example.org")
        with pytest.raises(IdentifierTaken):
            await users.add(second)
        assert await users.find(LoginIdentifier(IdentifierKind.EMAIL, "other@example.org")) is None
        assert await users.credentials(second.user_id) is None

    @told
    async def test_users_without_an_identifier_of_a_kind_do_not_clash(self, users: UserStore) -> None:
        await users.add(new_user(username="ann"))
        await users.add(new_user(username="bob"))
        await users.add(new_user(email="ann@example.org"))
        await users.add(new_user(phone_number="+4930123456"))

    @told
    async def test_of_two_hundred_racing_adds_of_one_name_one_wins(self, users: UserStore) -> None:
        outcomes = await asyncio.gather(
            *(users.add(new_user(username="bob", password_hash=f"stored-{n}")) for n in range(200)), return_exceptions=True
        )
        assert outcomes.count(None) == 1
        assert sum(isinstance(outcome, IdentifierTaken) for outcome in outcomes) == 199
        winner = await users.find(LoginIdentifier(IdentifierKind.USERNAME, "bob"))
        assert winner is not None
        assert winner.stored_password == f"stored-{outcomes.index(None)}"

    @told
    async def test_a_rehash_replaces_only_the_password_it_was_made_of(self, users: UserStore) -> None:
        bob = await add_bob(users)
        assert await users.rehash(bob, old="stored", new="rehashed") is True
        assert await users.rehash(bob, old="stored", new="late") is False
        assert await users.credentials(bob) == StoredCredentials(bob, "rehashed")


class ProfilesContract:
    """What every Profiles on the same users promises."""

    def opened(self) -> AbstractAsyncContextManager[ProfileStore]:
        """One without users."""
        raise NotImplementedError

    @told
    async def test_nobody_has_a_profile(self, users: ProfileStore) -> None:
        assert await users.profile(uuid4()) is None
        assert await users.change_profile(uuid4(), ProfileChange(full_name="Nobody")) is None

    @told
    async def test_the_profile_is_what_was_registered(self, users: ProfileStore) -> None:
        bob = await add_bob(users)
        assert await users.profile(bob) == Profile(
            user_id=bob,
            username="bob",
            email="bob@example.org",
            phone_number="+4930123456",
            full_name="Bob Böhm",
            birth_date=date(2000, 2, 29),
            last_login=None,
            coupons=(),
        )

    @told
    async def test_a_change_of_profile_touches_only_what_it_names(self, users: ProfileStore) -> None:
        bob = await add_bob(users)
        before = await users.profile(bob)
        assert await users.change_profile(bob, ProfileChange()) == before
        renamed = await users.change_profile(bob, ProfileChange(full_name="Robert"))
        assert renamed is not None
        assert (renamed.full_name, renamed.birth_date) == ("Robert", date(2000, 2, 29))
        younger = await users.change_profile(bob, ProfileChange(birth_date=date(2001, 1, 1)))
        assert younger is not None
        assert (younger.full_name, younger.birth_date) == ("Robert", date(2001, 1, 1))
        assert await users.profile(bob) == younger
