"""What the command line does to users, opened for one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from tidegate.config import Settings
from tidegate.passwords.blocklist import CommonPasswords
from tidegate.storage.jobs import JobAdministration, ListedJob
from tidegate.storage.user_administration import UserAdministration
from tidegate.storage.users import PostgresUsers
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.password_rules import PasswordRules
from tidegate.usecases.register import Normalise, Register
from tidegate.wiring.parts import SystemClock, normaliser, open_passwords, open_primary, open_throttle

__all__ = [
    "Administration",
    "ListedJob",
    "connections_offered",
    "open_administration",
    "open_job_administration",
    "open_registration",
]


@dataclass(frozen=True, slots=True)
class Administration:
    """Users as an operator meets them.

    Attributes:
        users: Finds them.
        administration: Disables, enables and deletes them.
        normalise: Turns what the operator typed into a login identifier.
    """

    users: PostgresUsers
    administration: UserAdministration
    normalise: Normalise


@asynccontextmanager
async def open_administration(settings: Settings) -> AsyncIterator[Administration]:
    """Open one connection to the primary.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    async with open_primary(settings, connections=1) as primary:
        yield Administration(PostgresUsers(primary), UserAdministration(primary), normaliser(settings))


@asynccontextmanager
async def open_registration(settings: Settings) -> AsyncIterator[Register]:
    """Open one connection and one hash thread; who registers here keeps the rules that everybody keeps.

    Raises:
        DatabaseUnavailable: The primary cannot be reached.
    """
    async with (
        open_primary(settings, connections=1) as primary,
        open_passwords(replace(settings, hash_threads=1)) as pool,
        open_throttle(settings, cache=None) as throttle,
    ):
        users = PostgresUsers(primary)
        yield Register(
            normalise=normaliser(settings),
            rules=PasswordRules(blocklist=CommonPasswords.load()),
            readers=users,
            writers=users,
            passwords=pool,
            throttle=throttle,
            ids=RandomIds(),
            clock=SystemClock(),
        )


@asynccontextmanager
async def open_job_administration(settings: Settings) -> AsyncIterator[JobAdministration]:
    """Open one connection to the primary.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    async with open_primary(settings, connections=1) as primary:
        yield JobAdministration(primary)


async def connections_offered(settings: Settings) -> int:
    """How many connections the primary lets everybody but its superusers hold at once.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    async with open_primary(settings, connections=1) as primary:
        return await primary.connections_offered()
