"""Coupons in PostgreSQL: who may do what with one, and which of those who race, is settled by what sql/coupons.sql says."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from tidegate.domain.campaigns import CampaignState, GrantState
from tidegate.domain.coupons import Coupon, CouponState, Reservation
from tidegate.domain.errors import (
    Contended,
    CouponExpired,
    CouponRedeemed,
    CouponReserved,
    CouponVoided,
    Refusal,
    ReservationOver,
    UnknownCoupon,
)
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.participation import Participation, ShownCampaign, coupons_in
from tidegate.storage.coalescing import BATCH_KEYS_MAX, READS_AT_ONCE_MAX, Coalescer
from tidegate.storage.connections import Row
from tidegate.storage.idempotency import take_key
from tidegate.storage.pools import PrimaryPool

_TRIES_MAX: Final = 3
"""A reservation may run out between a statement that it stopped and the look at what stopped it."""

_REFUSALS: Final[dict[CouponState, type[Refusal]]] = {
    CouponState.VOIDED: CouponVoided,
    CouponState.REDEEMED: CouponRedeemed,
    CouponState.RESERVED: CouponReserved,
    CouponState.EXPIRED: CouponExpired,
}


class PostgresCoupons:
    """`ports.coupons.Coupons` and `ports.coupons.ShownCampaigns`, by the primary."""

    def __init__(self, pool: PrimaryPool, *, reservation_s: float) -> None:
        """Nothing is asked yet.

        Args:
            pool: To the primary.
            reservation_s: How long a reservation keeps a coupon, in seconds.
        """
        self._pool = pool
        self._reserved_for = timedelta(seconds=reservation_s)
        self._participations = Coalescer(self._of_users, keys_max=BATCH_KEYS_MAX, batches_max=READS_AT_ONCE_MAX)
        self._shown = Coalescer(self._all_shown, keys_max=1, batches_max=1)

    async def of_user(self, user_id: UUID) -> Sequence[Participation]:
        """See `ports.coupons.Coupons.of_user`."""
        return await self._participations(user_id) or ()

    async def _of_users(self, asked: list[UUID]) -> dict[UUID, list[Participation]]:
        found: dict[UUID, list[Participation]] = {}
        for row in await self._pool.fetch("participations", asked):
            found.setdefault(row["user_id"], []).append(_participation(row))
        return found

    async def redeem(self, user_id: UUID, code: str, *, once: KeyedRequest | None = None) -> None:
        """See `ports.coupons.Coupons.redeem`."""
        await self._if_free("redeem_coupon", user_id, code, once=once, made=user_id)

    async def reserve(
        self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None
    ) -> Reservation:
        """See `ports.coupons.Coupons.reserve`."""
        values = (reservation_id, self._reserved_for)
        row = await self._if_free("reserve_coupon", user_id, code, *values, once=once, made=reservation_id)
        return Reservation(reservation_id, row["reserved_until"])

    async def confirm(self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None) -> None:
        """See `ports.coupons.Coupons.confirm`."""
        await self._if_reserved("confirm_coupon", user_id, code, reservation_id, once)

    async def release(self, user_id: UUID, code: str, *, reservation_id: UUID, once: KeyedRequest | None = None) -> None:
        """See `ports.coupons.Coupons.release`."""
        await self._if_reserved("release_coupon", user_id, code, reservation_id, once)

    async def reservation(self, user_id: UUID, code: str, reservation_id: UUID) -> Reservation:
        """See `ports.coupons.Coupons.reservation`."""
        row = await self._pool.fetchrow("reservation_of_coupon", user_id, code, reservation_id)
        if row is None:
            raise await self._why_not_reserved(user_id, code)
        return Reservation(reservation_id, row["reserved_until"])

    async def shown(self) -> Sequence[ShownCampaign]:
        """See `ports.coupons.ShownCampaigns.shown`."""
        return await self._shown(None) or ()

    async def _all_shown(self, _asked: list[None]) -> dict[None, list[ShownCampaign]]:
        return {None: [_shown(row) for row in await self._pool.fetch("shown_campaigns")]}

    async def _if_free(
        self, statement: str, user_id: UUID, code: str, *values: object, once: KeyedRequest | None, made: UUID
    ) -> Row:
        """Run *statement*, which wants the coupon for itself, and return its row; else say what stands against it."""
        for _ in range(_TRIES_MAX):
            row = await self._try(statement, user_id, code, *values, once=once, made=made)
            if row is not None:
                return row
            refusal = _REFUSALS.get(await self._state(user_id, code))
            if refusal is not None:
                raise refusal
        raise Contended

    async def _if_reserved(
        self, statement: str, user_id: UUID, code: str, reservation_id: UUID, once: KeyedRequest | None
    ) -> None:
        if await self._try(statement, user_id, code, reservation_id, once=once, made=reservation_id) is None:
            raise await self._why_not_reserved(user_id, code)

    async def _why_not_reserved(self, user_id: UUID, code: str) -> Refusal:
        state = await self._state(user_id, code)
        over_for_good = {CouponState.VOIDED, CouponState.REDEEMED}
        return _REFUSALS[state]() if state in over_for_good else ReservationOver()

    async def _try(self, statement: str, *values: object, once: KeyedRequest | None, made: UUID) -> Row | None:
        """Run *statement* together with the key of *once*; None: it changed nothing, and the key is not taken."""
        if once is None:
            return await self._pool.fetchrow(statement, *values)
        try:
            async with self._pool.transaction() as work:
                await take_key(work, once, made=made)
                row = await work.fetchrow(statement, *values)
                if row is None:
                    raise _NothingChanged  # takes the key back too
                return row
        except _NothingChanged:
            return None

    async def _state(self, user_id: UUID, code: str) -> CouponState:
        """The state of a coupon now.

        Raises:
            UnknownCoupon: *user_id* has no such coupon.
        """
        for coupon in coupons_in(await self.of_user(user_id)):
            if coupon.code == code:
                return coupon.state
        raise UnknownCoupon


class _NothingChanged(Exception):  # noqa: N818 - the end of a transaction, not an error
    """A statement found no coupon that it may change."""


def coupon_of(row: Row) -> Coupon | None:
    """The coupon in *row* of participations or user_profiles; None: it holds none."""
    if row["code"] is None:
        return None
    return Coupon(
        code=row["code"],
        campaign=row["campaign"],
        discount=row["discount"],
        expiration_date=row["expiration_date"],
        state=CouponState(row["coupon_state"]),
    )


def _participation(row: Row) -> Participation:
    grant: str | None = row["grant_state"]
    return Participation(
        campaign=row["campaign"],
        campaign_state=CampaignState(row["campaign_state"]),
        is_sold_out=row["is_sold_out"],
        is_served=row["is_served"],
        grant=None if grant is None else GrantState(grant),
        held_until=row["held_until"],
        coupon=coupon_of(row),
    )


def _shown(row: Row) -> ShownCampaign:
    return ShownCampaign(
        code=row["code"],
        name=row["name"],
        opens_at=row["opens_at"],
        closes_at=row["closes_at"],
        percent=row["percent"],
        state=CampaignState(row["state"]),
        seats_left=row["seats_left"],
    )
