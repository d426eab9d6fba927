"""The lines that campaigns serve."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tidegate.domain.campaigns import Known, OpenCampaign, Place, Win


class Turn(Protocol):
    """One campaign, served by nobody else while this lives, in one transaction: all that it does becomes true, or nothing.

    Attributes:
        free: Seats that nobody has.
    """

    free: int

    async def next_by_login(self, known: Known, *, at_most: int) -> Sequence[Place]:
        """Who logged in first of those who are not served, the earliest first; only who is *known* to be next."""

    async def hold_seats(self, known: Known, *, at_most: int) -> int:
        """Hold seats for those who registered first and have none; how many."""

    async def lapse_seats(self, known: Known) -> int:
        """Give up the seats whose time was over without a login, as far as logins are *known*; how many."""

    async def seats_to_grant(self, *, at_most: int) -> Sequence[Place]:
        """Whose seat is held, and who has logged in in time."""

    async def lock(self, places: Sequence[Place]) -> Sequence[Place]:
        """Those of *places* whose users exist, and will until the end of the turn."""

    async def grant(self, wins: Sequence[Win], *, are_held: bool) -> None:
        """Make the coupons, grant them, and show them at the users, who are locked.

        Args:
            wins: Whose, in any order.
            are_held: They have seats already; else each takes a free one.
        """


class CampaignLine(Protocol):
    """Whose turn it is, in all campaigns, on the primary."""

    async def to_serve(self) -> Sequence[OpenCampaign]:
        """The campaigns in which somebody may have to be served."""

    async def known(self) -> Known | None:
        """Up to where every place is known, and noted; None: somebody does not end what would tell."""

    def turn(self, campaign: OpenCampaign) -> AbstractAsyncContextManager[Turn | None]:
        """Serve *campaign* alone until the end of the block; None: somebody else does, or it is closed."""
