"""Reads the grants of a campaign page by page, however many there are."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from tidegate.storage.pools import PrimaryPool

GRANTS_A_PAGE: Final = 2_000
"""Half a megabyte. Each page is a statement of its own, so that who reads slowly holds no snapshot open meanwhile."""


@dataclass(frozen=True, slots=True, repr=False)
class ExportedGrant:
    """A seat, whose it is, and the coupon. It has no repr, for who knows the code may try it.

    Attributes:
        user_id: The user may be gone; then no name is left.
        code: None: the seat is held, or has lapsed; likewise what follows of the coupon.
        discount: In percent.
        expiration_date: The last day, UTC.
    """

    place: int
    user_id: UUID
    username: str | None
    email: str | None
    phone_number: str | None
    full_name: str | None
    state: str
    couponid: UUID | None
    code: str | None
    discount: Decimal | None
    expiration_date: date | None
    granted_at: datetime | None
    redeemed_at: datetime | None
    voided_at: datetime | None
    void_reason: str | None


class CampaignExport:
    """Exports campaigns from the primary."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool

    async def count(self, campaign_id: UUID) -> int:
        """How many grants there are at this moment."""
        row = await self._pool.fetchrow("count_grants", campaign_id)
        assert row is not None  # an aggregate has a row
        return int(row["count"])

    async def pages(self, campaign_id: UUID) -> AsyncIterator[Sequence[ExportedGrant]]:
        """Every grant in the order of the line, each as it stood when its page was read; none is missing or twice."""
        after = -1
        while rows := await self._pool.fetch("export_grants", campaign_id, after, GRANTS_A_PAGE):
            yield [ExportedGrant(*row) for row in rows]
            after = rows[-1]["place"]
