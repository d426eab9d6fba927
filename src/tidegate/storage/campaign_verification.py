"""Counts again from the rows what the database, the granter and the operator should have kept true of a campaign."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from tidegate.domain.campaign_checks import Check
from tidegate.domain.errors import UnknownCampaign
from tidegate.storage.connections import PrimaryConnection
from tidegate.storage.pools import PrimaryPool

OFFENCES_TOLD_MAX: Final = 20
"""Of each check: a broken one may hold for none of a million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check found.

    Attributes:
        offences: The rows at fault, `OFFENCES_TOLD_MAX` at most; each value as JSON has it.
        are_more: There are others.
    """

    check: Check
    offences: Sequence[dict[str, str | int | None]]
    are_more: bool

    @property
    def holds(self) -> bool:
        """Nothing offends."""
        return not self.offences


class CampaignVerification:
    """Verifies campaigns on the primary."""

    def __init__(self, pool: PrimaryPool) -> None:
        """Keep what is given.

        Args:
            pool: Whose statements may take minutes: each reads all that there is of a campaign.
        """
        self._pool = pool

    async def __call__(self, code: str, *, on_checked: Callable[[int, int], None]) -> list[Verdict]:
        """Make every check of the campaign of *code*, all in one snapshot.

        Args:
            code: As the table has it.
            on_checked: Told how many checks of how many are made.

        Raises:
            UnknownCampaign: There is none.
        """
        verdicts: list[Verdict] = []
        async with self._snapshot() as work:
            row = await work.fetchrow("find_campaign", code)
            if row is None:
                raise UnknownCampaign
            for check in Check:
                verdicts.append(await _verdict(work, check, row["campaign_id"]))
                on_checked(len(verdicts), len(Check))
        return verdicts

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[PrimaryConnection]:
        async with self._pool.transaction() as work:
            await work.fetch("one_snapshot")
            await work.fetch("whole_tables")
            yield work


async def _verdict(work: PrimaryConnection, check: Check, campaign: UUID) -> Verdict:
    rows = await work.fetch(f"verify_{check}", campaign, OFFENCES_TOLD_MAX + 1)
    offences = [{name: _as_json(value) for name, value in row.items()} for row in rows[:OFFENCES_TOLD_MAX]]
    return Verdict(check=check, offences=offences, are_more=len(rows) > OFFENCES_TOLD_MAX)


def _as_json(value: object) -> str | int | None:
    match value:
        case None | int():
            return value
        case datetime():
            return value.isoformat()
        case UUID() | Decimal():
            return str(value)
        case _:
            return str(value)
