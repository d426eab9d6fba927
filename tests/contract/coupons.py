"""What every store of coupons promises, whatever stores them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol
from uuid import UUID, uuid4

import pytest

from tests.contract.stories import told
from tidegate.domain.coupons import CouponState
from tidegate.domain.errors import (
    CouponExpired,
    CouponRedeemed,
    CouponReserved,
    CouponVoided,
    IdempotencyKeyTaken,
    Refusal,
    ReservationOver,
    UnknownCoupon,
)
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.participation import CouponStatus, coupons_in
from tidegate.ports.coupons import Coupons
from tidegate.ports.idempotency import IdempotencyKeys

RACERS: Final = 20
RESERVATION_S: Final = 900.0
CODE: Final = "0123456789ABCDEFG"
"""Any string: whether it is a code is not for the store to say."""

FIRST: Final = KeyedRequest(b"key one", b"request one")
SECOND: Final = KeyedRequest(b"key two", b"request two")


class CouponWorld(Protocol):
    """Coupons, and what happens to them elsewhere. Reservations live for `RESERVATION_S`."""

    @property
    def coupons(self) -> Coupons:
        """What is under test."""

    @property
    def keys(self) -> IdempotencyKeys:
        """The keys under which something was done."""

    async def grant(self, code: str) -> UUID:
        """A new user who has the coupon *code*; its last day is ahead."""

    async def void(self, code: str) -> None:
        """Take it back, as an operator."""

    async def set_last_day(self, code: str, *, days_ahead: int) -> None:
        """0: today, UTC."""

    async def let_pass(self, seconds: float) -> None:
        """Make every reservation older, as if the time had passed."""

    async def told(self) -> list[str]:
        """The kinds of jobs that were put."""


async def state_of(world: CouponWorld, user_id: UUID) -> CouponState:
    """Of the only coupon of *user_id*."""
    (coupon,) = coupons_in(await world.coupons.of_user(user_id))
    return coupon.state


async def all_at_once(act: Callable[[], Awaitable[object]], refusal: type[Exception]) -> None:
    """Let `RACERS` do *act*: one does, the others hear *refusal*."""
    outcomes = await asyncio.gather(*(act() for _ in range(RACERS)), return_exceptions=True)
    assert sum(isinstance(outcome, refusal) for outcome in outcomes) == RACERS - 1, outcomes
    assert sum(isinstance(outcome, Exception) for outcome in outcomes) == RACERS - 1


class CouponsContract:
    """A coupon is used once, by its owner, while it is good; whatever is refused has changed nothing."""

    def opened(self) -> AbstractAsyncContextManager[CouponWorld]:
        """A world without coupons."""
        raise NotImplementedError

    @told
    async def test_who_takes_part_in_nothing_has_nothing(self, world: CouponWorld) -> None:
        assert list(await world.coupons.of_user(uuid4())) == []

    @told
    async def test_a_coupon_that_was_granted_is_shown_and_good(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        (shown,) = await world.coupons.of_user(bob)
        assert (shown.status, shown.coupon is not None and shown.coupon.code) == (CouponStatus.GRANTED, CODE)
        assert await state_of(world, bob) is CouponState.VALID

    @told
    async def test_a_coupon_is_redeemed_once_and_never_again(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        await world.coupons.redeem(bob, CODE)
        assert await state_of(world, bob) is CouponState.REDEEMED
        for act in (
            lambda: world.coupons.redeem(bob, CODE),
            lambda: world.coupons.redeem(bob, CODE, once=FIRST),
            lambda: world.coupons.reserve(bob, CODE, reservation_id=uuid4()),
            lambda: world.coupons.confirm(bob, CODE, reservation_id=uuid4()),
            lambda: world.coupons.release(bob, CODE, reservation_id=uuid4()),
        ):
            with pytest.raises(CouponRedeemed):
                await act()
        assert await world.told() == ["coupon_redeemed"]
        assert await world.keys.made_by(FIRST) is None

    @told
    async def test_of_racing_redeems_one_wins(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        await all_at_once(lambda: world.coupons.redeem(bob, CODE), CouponRedeemed)
        assert await world.told() == ["coupon_redeemed"]

    @told
    async def test_of_racing_reservations_one_wins_and_keeps_the_coupon(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        await all_at_once(lambda: world.coupons.reserve(bob, CODE, reservation_id=uuid4()), CouponReserved)
        with pytest.raises(CouponReserved):
            await world.coupons.redeem(bob, CODE)
        assert await world.told() == ["coupon_reserved"]

    @told
    async def test_a_coupon_is_its_owner_s(self, world: CouponWorld) -> None:
        bob, ann = await world.grant(CODE), await world.grant("another of Ann's")
        kept = await world.coupons.reserve(bob, CODE, reservation_id=uuid4())
        for user_id, code in ((ann, CODE), (bob, "another of Ann's"), (bob, "nobody's"), (uuid4(), CODE)):
            for act in (
                world.coupons.redeem(user_id, code),
                world.coupons.reserve(user_id, code, reservation_id=uuid4()),
                world.coupons.confirm(user_id, code, reservation_id=kept.reservation_id),
                world.coupons.release(user_id, code, reservation_id=kept.reservation_id),
                world.coupons.reservation(user_id, code, kept.reservation_id),
            ):
                with pytest.raises(UnknownCoupon):
                    await act
        assert [await state_of(world, user) for user in (bob, ann)] == [CouponState.RESERVED, CouponState.VALID]
        assert await world.told() == ["coupon_reserved"]

    @told
    async def test_its_last_day_is_good_and_the_next_is_not(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        await world.set_last_day(CODE, days_ahead=-1)
        assert await state_of(world, bob) is CouponState.EXPIRED
        for act in (
            world.coupons.redeem(bob, CODE),
            world.coupons.redeem(bob, CODE, once=FIRST),
            world.coupons.reserve(bob, CODE, reservation_id=uuid4()),
        ):
            with pytest.raises(CouponExpired):
                await act
        await world.set_last_day(CODE, days_ahead=0)
        assert await state_of(world, bob) is CouponState.VALID
        await world.coupons.redeem(bob, CODE, once=FIRST)

    @told
    async def test_a_payment_that_began_in_time_may_end_late(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        kept = await world.coupons.reserve(bob, CODE, reservation_id=uuid4())
        await world.set_last_day(CODE, days_ahead=-1)
        assert await state_of(world, bob) is CouponState.RESERVED
        await world.coupons.confirm(bob, CODE, reservation_id=kept.reservation_id)
        assert await state_of(world, bob) is CouponState.REDEEMED

    @told
    async def test_a_coupon_that_was_taken_back_is_good_for_nothing(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        kept = await world.coupons.reserve(bob, CODE, reservation_id=uuid4())
        await world.void(CODE)
        assert [each.status for each in await world.coupons.of_user(bob)] == [CouponStatus.VOIDED]
        assert await state_of(world, bob) is CouponState.VOIDED
        await world.let_pass(RESERVATION_S)
        for act in (
            world.coupons.redeem(bob, CODE),
            world.coupons.reserve(bob, CODE, reservation_id=uuid4()),
            world.coupons.confirm(bob, CODE, reservation_id=kept.reservation_id),
            world.coupons.release(bob, CODE, reservation_id=kept.reservation_id),
        ):
            with pytest.raises(CouponVoided):
                await act

    @told
    async def test_only_its_own_reservation_confirms_and_releases(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        with pytest.raises(ReservationOver):
            await world.coupons.confirm(bob, CODE, reservation_id=uuid4())
        kept = await world.coupons.reserve(bob, CODE, reservation_id=uuid4())
        assert await world.coupons.reservation(bob, CODE, kept.reservation_id) == kept
        for act in (
            world.coupons.confirm(bob, CODE, reservation_id=uuid4()),
            world.coupons.release(bob, CODE, reservation_id=uuid4()),
            world.coupons.reservation(bob, CODE, uuid4()),
        ):
            with pytest.raises(ReservationOver):
                await act
        await world.coupons.release(bob, CODE, reservation_id=kept.reservation_id)
        assert await state_of(world, bob) is CouponState.VALID
        for gone in (world.coupons.confirm, world.coupons.release):
            with pytest.raises(ReservationOver):
                await gone(bob, CODE, reservation_id=kept.reservation_id)
        again = await world.coupons.reserve(bob, CODE, reservation_id=uuid4())
        await world.coupons.confirm(bob, CODE, reservation_id=again.reservation_id)
        assert await world.told() == ["coupon_reserved", "coupon_released", "coupon_reserved", "coupon_redeemed"]

    @told
    async def test_a_reservation_frees_itself_and_is_confirmed_late_if_nobody_came(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        late = await world.coupons.reserve(bob, CODE, reservation_id=uuid4())
        await world.let_pass(RESERVATION_S - 60)
        assert await state_of(world, bob) is CouponState.RESERVED
        await world.let_pass(61)
        assert await state_of(world, bob) is CouponState.VALID
        await world.coupons.confirm(bob, CODE, reservation_id=late.reservation_id)
        assert await state_of(world, bob) is CouponState.REDEEMED

    @told
    async def test_a_late_confirmation_gives_way_to_who_came_since(self, world: CouponWorld) -> None:
        comers: list[tuple[str, type[Refusal]]] = [("reserve", ReservationOver), ("redeem", CouponRedeemed)]
        for number, (comer, refusal) in enumerate(comers):
            code = f"{CODE}-{number}"
            bob = await world.grant(code)
            late = await world.coupons.reserve(bob, code, reservation_id=uuid4())
            await world.let_pass(RESERVATION_S + 1)
            if comer == "redeem":
                await world.coupons.redeem(bob, code)
            else:
                await world.coupons.reserve(bob, code, reservation_id=uuid4())
            for gone in (world.coupons.confirm, world.coupons.release):
                with pytest.raises(refusal):
                    await gone(bob, code, reservation_id=late.reservation_id)
        assert (await world.told()).count("coupon_redeemed") == 1

    @told
    async def test_a_key_is_taken_with_the_effect_and_not_without(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        with pytest.raises(UnknownCoupon):
            await world.coupons.redeem(uuid4(), CODE, once=FIRST)
        assert await world.keys.made_by(FIRST) is None
        kept = uuid4()
        await world.coupons.reserve(bob, CODE, reservation_id=kept, once=FIRST)
        assert await world.keys.made_by(FIRST) == kept
        with pytest.raises(CouponReserved):
            await world.coupons.redeem(bob, CODE, once=SECOND)
        assert await world.keys.made_by(SECOND) is None
        await world.coupons.confirm(bob, CODE, reservation_id=kept, once=SECOND)
        with pytest.raises(IdempotencyKeyTaken):
            await world.coupons.redeem(bob, CODE, once=SECOND)

    @told
    async def test_of_racing_requests_with_one_key_one_takes_effect(self, world: CouponWorld) -> None:
        bob = await world.grant(CODE)
        await all_at_once(lambda: world.coupons.redeem(bob, CODE, once=FIRST), IdempotencyKeyTaken)
        assert await world.told() == ["coupon_redeemed"]
