"""What every `ports.passwords.Passwords` promises, whatever hashes."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from tests.fakes.passwords import SOMEBODY
from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane
from tidegate.passwords.notations import STORED_LENGTH_MAX
from tidegate.ports.passwords import Passwords

UNREADABLE = ("", "!", "correct horse", "$argon2id$", "$argon2id$v=19$m=9999999999,t=1,p=1$c29tZXNhbHQ$AAAA", "$1$abc$def")


class PasswordsContract:
    """What every Passwords promises. A subclass says how one is opened and saturated."""

    def opened(self) -> AbstractAsyncContextManager[Passwords]:
        """One that is idle, closed on the way out."""
        raise NotImplementedError

    def saturated(self) -> AbstractAsyncContextManager[Passwords]:
        """One that can take no more for as long as the block lasts."""
        raise NotImplementedError

    @pytest.mark.parametrize(
        "password",
        ["correct horse", "x", " spaces stay ", "pässwörd", "🐎" * 64, "a" * 1024, "tab\tand\nline"],
        ids=["plain", "one_letter", "spaces", "latin", "64_of_four_bytes", "1024_bytes", "white"],
    )
    def test_a_password_matches_its_own_hash(self, password: str) -> None:
        async def story() -> None:
            async with self.opened() as passwords:
                password_hash = await passwords.hash(password, lane=Lane.REGISTER)
                assert await passwords.matches(password, password_hash, user_id=SOMEBODY, lane=Lane.LOGIN) is True

        asyncio.run(story())

    @pytest.mark.parametrize(
        ("password", "other"),
        [
            ("correct horse", "correct horsf"),
            ("correct horse", "Correct horse"),
            ("correct horse", "correct horse "),
            ("correct horse", ""),
            ("a" * 72 + "b", "a" * 72 + "c"),
            ("a" * 1024, "a" * 1023),
        ],
        ids=["letter", "case", "space", "empty", "beyond_72_bytes", "last_of_1024"],
    )
    def test_another_password_does_not_match(self, password: str, other: str) -> None:
        async def story() -> None:
            async with self.opened() as passwords:
                password_hash = await passwords.hash(password, lane=Lane.REGISTER)
                assert await passwords.matches(other, password_hash, user_id=SOMEBODY, lane=Lane.LOGIN) is False

        asyncio.run(story())

    @pytest.mark.parametrize("password_hash", UNREADABLE)
    def test_an_unreadable_hash_matches_nothing_and_is_outdated(self, password_hash: str) -> None:
        async def story() -> None:
            async with self.opened() as passwords:
                assert await passwords.matches("correct horse", password_hash, user_id=SOMEBODY, lane=Lane.LOGIN) is False
                assert passwords.is_outdated(password_hash)

        asyncio.run(story())

    def test_an_unreadable_hash_needs_no_place(self) -> None:
        async def story() -> None:
            async with self.saturated() as passwords:
                assert await passwords.matches("correct horse", "$1$abc$def", user_id=SOMEBODY, lane=Lane.LOGIN) is False

        asyncio.run(story())

    def test_a_new_hash_is_of_the_current_profile_and_fits_the_column(self) -> None:
        async def story() -> None:
            async with self.opened() as passwords:
                password_hash = await passwords.hash("correct horse", lane=Lane.LOGIN)
                assert not passwords.is_outdated(password_hash)
                assert len(password_hash) <= STORED_LENGTH_MAX

        asyncio.run(story())

    def test_the_mark_of_a_disabled_user_makes_a_hash_unreadable(self) -> None:
        """Were the mark ever left on by mistake, nobody gets in by it."""

        async def story() -> None:
            async with self.opened() as passwords:
                marked = "!" + await passwords.hash("correct horse", lane=Lane.REGISTER)
                assert await passwords.matches("correct horse", marked, user_id=SOMEBODY, lane=Lane.LOGIN) is False

        asyncio.run(story())

    def test_it_is_idle_when_nothing_is_asked_of_it(self) -> None:
        async def story() -> None:
            async with self.opened() as passwords:
                assert passwords.is_idle()
                password_hash = await passwords.hash("correct horse", lane=Lane.REHASH)
                await passwords.matches("correct horse", password_hash, user_id=SOMEBODY, lane=Lane.LOGIN)
                assert passwords.is_idle()
                await passwords.imitate(lane=Lane.LOGIN)
                assert passwords.is_idle()

        asyncio.run(story())

    @pytest.mark.parametrize("lane", Lane)
    def test_a_saturated_one_refuses_everything_that_would_hash(self, lane: Lane) -> None:
        """`imitate` refuses whenever `matches` would, or the refusal would tell who is registered."""

        async def story() -> None:
            async with self.opened() as passwords:
                password_hash = await passwords.hash("correct horse", lane=Lane.REGISTER)
            async with self.saturated() as passwords:
                assert not passwords.is_idle()
                for refused in (
                    passwords.matches("correct horse", password_hash, user_id=SOMEBODY, lane=lane),
                    passwords.hash("correct horse", lane=lane),
                    passwords.imitate(lane=lane),
                ):
                    with pytest.raises(HashPoolSaturated) as caught:
                        await refused
                    assert caught.value.retry_after_s > 0
                with pytest.raises(HashPoolSaturated) as caught:
                    passwords.refuse_if_full(lane)
                assert caught.value.retry_after_s > 0

        asyncio.run(story())

    @pytest.mark.parametrize("lane", Lane)
    def test_one_that_is_not_full_lets_everybody_try(self, lane: Lane) -> None:
        async def story() -> None:
            async with self.opened() as passwords:
                passwords.refuse_if_full(lane)

        asyncio.run(story())
