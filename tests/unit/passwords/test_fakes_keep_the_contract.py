"""The fake that tests of use cases lean on promises what the real pool does."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.contract.passwords import PasswordsContract
from tests.fakes.passwords import InstantPasswords
from tidegate.ports.passwords import Passwords


class TestInstantPasswords(PasswordsContract):
    def opened(self) -> AbstractAsyncContextManager[Passwords]:
        return _as_it_is(InstantPasswords())

    def saturated(self) -> AbstractAsyncContextManager[Passwords]:
        return _as_it_is(InstantPasswords(is_saturated=True))


@asynccontextmanager
async def _as_it_is(passwords: Passwords) -> AsyncIterator[Passwords]:
    yield passwords
