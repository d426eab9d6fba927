"""Coupons in a dictionary: what `CouponsContract` promises, without a database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from tests.fakes.idempotency import InMemoryIdempotencyKeys
from tests.fakes.sessions import HandClock
from tidegate.domain.campaigns import CampaignState, GrantState
from tidegate.domain.coupons import Coupon, CouponState, Reservation
from tidegate.domain.errors import (
    CouponExpired,
    CouponRedeemed,
    CouponReserved,
    CouponVoided,
    ReservationOver,
    UnknownCoupon,
)
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.jobs import JobKind
from tidegate.domain.participation import Participation


@dataclass
class _Row:
    owner: UUID
    last_day: date
    reservation_id: UUID | None = None
    reserved_until: datetime | None = None
    is_redeemed: bool = False
    is_voided: bool = False


class InMemoryCoupons:
    """Implements `ports.coupons.Coupons`; a test may also grant, void, and let days pass.

    Attributes:
        keys: Under which something was done.
        told: What the audit is to be told.
        asked: How often something was to be done.
    """

    def __init__(
        self, keys: InMemoryIdempotencyKeys | None = None, *, clock: HandClock | None = None, reservation_s: float = 900.0
    ) -> None:
        self.keys = keys or InMemoryIdempotencyKeys()
        self.clock = clock or HandClock()
        self.told: list[JobKind] = []
        self.asked = 0
        self._reserved_for = timedelta(seconds=reservation_s)
        self._rows: dict[str, _Row] = {}

    def grant(self, user_id: UUID, code: str) -> None:
        """What a worker does."""
        self._rows[code] = _Row(user_id, self.clock.now().date() + timedelta(days=30))

    def void(self, code: str) -> None:
        """What an operator does."""
        self._rows[code].is_voided = True

    def set_last_day(self, code: str, *, days_ahead: int) -> None:
        """0: today."""
        self._rows[code].last_day = self.clock.now().date() + timedelta(days=days_ahead)

    async def of_user(self, user_id: UUID) -> Sequence[Participation]:
        return [
            Participation(
                campaign="spring",
                campaign_state=CampaignState.ACTIVE,
                is_sold_out=False,
                is_served=False,
                grant=GrantState.VOIDED if row.is_voided else GrantState.GRANTED,
                held_until=None,
                coupon=Coupon(
                    code=code,
                    campaign="spring",
                    discount=Decimal("15.00"),
                    expiration_date=row.last_day,
                    state=self._state(row),
                ),
            )
            for code, row in self._rows.items()
            if row.owner == user_id
        ]

    async def redeem(self, user_id: UUID, code: str, *, once: KeyedRequest | None = None) -> None:
        row = self._found(user_id, code, once)
        self._refuse_unless_free(row)
        self._redeem(row)
        self.keys.take(once, user_id)

    async def reserve(
        self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None
    ) -> Reservation:
        row = self._found(user_id, code, once)
        self._refuse_unless_free(row)
        row.reservation_id, row.reserved_until = reservation_id, self.clock.now() + self._reserved_for
        self.told.append(JobKind.COUPON_RESERVED)
        self.keys.take(once, reservation_id)
        return Reservation(reservation_id, row.reserved_until)

    async def confirm(self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None) -> None:
        row = self._found(user_id, code, once)
        self._refuse_unless_reserved(row, reservation_id)
        self._redeem(row)
        self.keys.take(once, reservation_id)

    async def release(self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None) -> None:
        row = self._found(user_id, code, once)
        self._refuse_unless_reserved(row, reservation_id)
        row.reservation_id = row.reserved_until = None
        self.told.append(JobKind.COUPON_RELEASED)
        self.keys.take(once, reservation_id)

    async def reservation(self, user_id: UUID, code: str, reservation_id: UUID) -> Reservation:
        row = self._found(user_id, code, None)
        self._refuse_unless_reserved(row, reservation_id)
        assert row.reserved_until is not None
        return Reservation(reservation_id, row.reserved_until)

    def _found(self, user_id: UUID, code: str, once: KeyedRequest | None) -> _Row:
        self.asked += 1
        self.keys.refuse_if_taken(once)
        row = self._rows.get(code)
        if row is None or row.owner != user_id:
            raise UnknownCoupon
        return row

    def _redeem(self, row: _Row) -> None:
        row.is_redeemed, row.reservation_id, row.reserved_until = True, None, None
        self.told.append(JobKind.COUPON_REDEEMED)

    def _state(self, row: _Row) -> CouponState:
        if row.is_voided:
            return CouponState.VOIDED
        if row.is_redeemed:
            return CouponState.REDEEMED
        if row.reserved_until is not None and row.reserved_until > self.clock.now():
            return CouponState.RESERVED
        return CouponState.EXPIRED if row.last_day < self.clock.now().date() else CouponState.VALID

    def _refuse_unless_free(self, row: _Row) -> None:
        match self._state(row):
            case CouponState.VOIDED:
                raise CouponVoided
            case CouponState.REDEEMED:
                raise CouponRedeemed
            case CouponState.RESERVED:
                raise CouponReserved
            case CouponState.EXPIRED:
                raise CouponExpired

    def _refuse_unless_reserved(self, row: _Row, reservation_id: UUID) -> None:
        if row.is_voided:
            raise CouponVoided
        if row.is_redeemed:
            raise CouponRedeemed
        if row.reservation_id != reservation_id:
            raise ReservationOver
