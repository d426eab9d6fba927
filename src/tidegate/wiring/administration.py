"""What the command line does to users, opened for one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from tidegate.config import Settings
from tidegate.passwords.blocklist import CommonPasswords
from tidegate.storage.campaign_administration import PostgresCampaignAdministration
from tidegate.storage.campaign_export import CampaignExport, ExportedGrant
from tidegate.storage.campaign_verification import CampaignVerification, Verdict
from tidegate.storage.campaign_watching import JOBS_COUNTED_MAX, CampaignLook, PostgresCampaignWatch
from tidegate.storage.jobs import JobAdministration, ListedJob
from tidegate.storage.user_administration import UserAdministration
from tidegate.storage.users import PostgresUsers
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.administer_campaigns import AdministerCampaigns
from tidegate.usecases.password_rules import PasswordRules
from tidegate.usecases.register import Normalise, Register
from tidegate.wiring.parts import SystemClock, normaliser, open_passwords, open_primary, open_throttle

_REPORT_STATEMENT_TIMEOUT_MS: Final = 3_600_000
"""An hour. Each reads at most what there is, and changes nothing; a person waits, and may stop."""

__all__ = [
    "JOBS_COUNTED_MAX",
    "Administration",
    "CampaignDesk",
    "CampaignLook",
    "CampaignReports",
    "ExportedGrant",
    "ListedJob",
    "Verdict",
    "connections_offered",
    "open_administration",
    "open_campaign_reports",
    "open_campaign_watch",
    "open_campaigns",
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


@dataclass(frozen=True, slots=True)
class CampaignDesk:
    """Campaigns as an operator meets them.

    Attributes:
        campaigns: Makes, shows and steers them.
        people: Finds whom a coupon is to be taken from.
    """

    campaigns: AdministerCampaigns
    people: Administration


@dataclass(frozen=True, slots=True)
class CampaignReports:
    """What reads all that there is of a campaign."""

    verify: CampaignVerification
    export: CampaignExport


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
async def open_campaigns(settings: Settings) -> AsyncIterator[CampaignDesk]:
    """Open one connection to the primary.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    async with open_primary(settings, connections=1) as primary:
        people = Administration(PostgresUsers(primary), UserAdministration(primary), normaliser(settings))
        campaigns = AdministerCampaigns(campaigns=PostgresCampaignAdministration(primary), ids=RandomIds())
        yield CampaignDesk(campaigns, people)


@asynccontextmanager
async def open_campaign_reports(settings: Settings) -> AsyncIterator[CampaignReports]:
    """Open one connection to the primary, whose statements may take as long as a person waits.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    patient = replace(settings, database_statement_timeout_ms=_REPORT_STATEMENT_TIMEOUT_MS)
    async with open_primary(patient, connections=1) as primary:
        yield CampaignReports(CampaignVerification(primary), CampaignExport(primary))


@asynccontextmanager
async def open_job_administration(settings: Settings) -> AsyncIterator[JobAdministration]:
    """Open one connection to the primary.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    async with open_primary(settings, connections=1) as primary:
        yield JobAdministration(primary)


@asynccontextmanager
async def open_campaign_watch(settings: Settings, code: str) -> AsyncIterator[PostgresCampaignWatch]:
    """Open one connection to the primary, for whoever watches the campaign *code*.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    async with open_primary(settings, connections=1) as primary:
        yield PostgresCampaignWatch(primary, code)


async def connections_offered(settings: Settings) -> int:
    """How many connections the primary lets everybody but its superusers hold at once.

    Raises:
        DatabaseUnavailable: It cannot be reached.
    """
    async with open_primary(settings, connections=1) as primary:
        return await primary.connections_offered()
