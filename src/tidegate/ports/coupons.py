"""Coupons of users, and what anybody may see of campaigns."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from tidegate.domain.coupons import Reservation
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.participation import Participation, ShownCampaign


class Coupons(Protocol):
    """The coupons of users, as fresh as the primary. Whatever is refused has changed nothing.

    Each that changes a coupon raises:
        UnknownCoupon: There is no such coupon, or it is somebody else's.
        CouponVoided: An operator has taken it back.
        CouponRedeemed: It was used before.
        IdempotencyKeyTaken: A request with the key of `once` took effect before.
    """

    async def of_user(self, user_id: UUID) -> Sequence[Participation]:
        """In which campaigns *user_id* takes part, that of the registration first."""

    async def redeem(self, user_id: UUID, code: str, *, once: KeyedRequest | None = None) -> None:
        """Use a coupon. Of any number that try, one does.

        Raises:
            CouponReserved: It is kept for a payment.
            CouponExpired: Its last day is over.
        """

    async def reserve(
        self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None
    ) -> Reservation:
        """Keep a coupon for a payment, for a time. Raises as `redeem`."""

    async def confirm(self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None) -> None:
        """Use the coupon that *reservation_id* keeps, even after its time if nobody else reserved or used it since.

        Raises:
            ReservationOver: *reservation_id* keeps it no more, or never did.
        """

    async def release(self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None) -> None:
        """Give up the reservation *reservation_id*. Raises as `confirm`."""

    async def reservation(self, user_id: UUID, code: str, reservation_id: UUID) -> Reservation:
        """The reservation *reservation_id* of a coupon. Raises as `confirm`."""


class ShownCampaigns(Protocol):
    """What anybody may see of campaigns."""

    async def shown(self) -> Sequence[ShownCampaign]:
        """All campaigns but drafts. Callers at the same time share one question, and the same object."""
