"""Grants coupons to whoever is next, after the login has long been answered (DESIGN 5.8, ADR 0027)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tidegate.domain.campaigns import Known, OpenCampaign, Place, RankBy, Win
from tidegate.domain.coupon_codes import RANDOM_OCTETS, make_coupon_code
from tidegate.ports.campaigns import CampaignLine, Turn
from tidegate.ports.ids import Ids

GRANTED_AT_ONCE_MAX: Final = 500
"""In one transaction: more would cost no less each, and hold the campaign for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantCoupons:
    """One round of one worker; any number may go beside each other.

    Attributes:
        random_octets: Gives so many octets from a cryptographic source.
        on_granted: Told how many, once they are committed.
    """

    line: CampaignLine
    ids: Ids
    random_octets: Callable[[int], bytes]
    on_granted: Callable[[int], None]

    async def __call__(self) -> bool:
        """Serve every campaign once; True when there may be more to do at once.

        Raises:
            Unavailable: The database is; nothing is lost.
        """
        campaigns = await self.line.to_serve()
        known = await self.line.known() if campaigns else None
        if known is None:
            return False
        granted = [await self._serve(campaign, known) for campaign in campaigns]
        return any(count == GRANTED_AT_ONCE_MAX for count in granted)

    async def _serve(self, campaign: OpenCampaign, known: Known) -> int:
        async with self.line.turn(campaign) as turn:
            if turn is None:
                return 0
            if campaign.rank_by is RankBy.LOGIN:
                places = await turn.next_by_login(known, at_most=min(GRANTED_AT_ONCE_MAX, turn.free))
            else:
                freed = await turn.lapse_seats(known)
                await turn.hold_seats(known, at_most=min(GRANTED_AT_ONCE_MAX, turn.free + freed))
                places = await turn.seats_to_grant(at_most=GRANTED_AT_ONCE_MAX)
            granted = await self._grant(turn, places, are_held=campaign.rank_by is RankBy.REGISTRATION)
        if granted:
            self.on_granted(granted)
        return granted

    async def _grant(self, turn: Turn, places: Sequence[Place], *, are_held: bool) -> int:
        wins = [
            Win(place, self.ids.coupon_id(), make_coupon_code(self.random_octets(RANDOM_OCTETS)))
            for place in (await turn.lock(places) if places else ())
        ]
        if wins:
            await turn.grant(wins, are_held=are_held)
        return len(wins)
