"""An owner uses a coupon once, whoever asks how often; and guessing codes gets nobody anywhere."""

from asyncio import CancelledError, create_task, gather, run, sleep
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.fakes.counters import InMemoryCounters
from tests.fakes.coupons import InMemoryCoupons
from tests.fakes.sessions import HandClock
from tests.fakes.tokens import FakeIds
from tests.fakes.users import InMemoryUsers
from tidegate.domain.coupon_codes import make_coupon_code
from tidegate.domain.errors import (
    CouponExpired,
    CouponRedeemed,
    CouponReserved,
    IdempotencyKeyReused,
    ReservationOver,
    TooManyAttempts,
    UnknownCoupon,
)
from tidegate.domain.idempotency import KEPT_S, Keying
from tidegate.domain.jobs import JobKind
from tidegate.domain.throttling import CounterKind, Limit
from tidegate.throttle.throttle import CountingThrottle
from tidegate.usecases.act_once import ActOnce
from tidegate.usecases.use_coupon import CouponRequest, UseCoupon

CODE, OTHER, NOBODYS = (make_coupon_code(bytes([number] * 10)) for number in range(3))
KEY = "a key of the client's"
HOME = "192.0.2.7"
OF_A_USER, OF_AN_ADDRESS = 3, 5


class Profiles(InMemoryUsers):
    """Notes whose are to be read anew."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[UUID] = []

    async def forget(self, user_id: UUID) -> None:
        self.forgotten.append(user_id)


class World:
    """Bob has the coupon `CODE`, Ann has `OTHER`, and `NOBODYS` is a code that is right and nobody's."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.coupons = InMemoryCoupons(clock=self.clock)
        self.profiles = Profiles()
        throttle = CountingThrottle(
            limits={
                CounterKind.COUPON: Limit(at_most=OF_A_USER, window_s=600),
                CounterKind.COUPON_ADDRESS: Limit(at_most=OF_AN_ADDRESS, window_s=600),
            },
            shared=InMemoryCounters(),
            now=lambda: self.clock.now().timestamp(),
            tallies_max=100,
            on_refused=lambda _kind: None,
        )
        self.use = UseCoupon(
            coupons=self.coupons,
            profiles=self.profiles,
            throttle=throttle,
            act_once=ActOnce(keys=self.coupons.keys, throttle=throttle),
            keying=Keying(mac_of_key=lambda text: b"key:" + text, mac_of_request=lambda text: b"request:" + text),
            ids=FakeIds(),
        )
        self.bob, self.ann = uuid4(), uuid4()
        self.coupons.grant(self.bob, CODE)
        self.coupons.grant(self.ann, OTHER)

    def asked(
        self, typed: str = CODE, *, by: UUID | None = None, key: str | None = None, address: str | None = None
    ) -> CouponRequest:
        return CouponRequest(user_id=by or self.bob, typed=typed, address=address, key=key)

    def redeem(self, typed: str = CODE, **named: Any) -> None:
        run(self.use.redeem(self.asked(typed, **named)))


@pytest.fixture
def world() -> World:
    return World()


def test_a_code_is_read_as_people_write_it(world: World) -> None:
    world.redeem(f" {CODE[:5]}-{CODE[5:]}".lower().strip().replace("0", "o"))
    assert world.coupons.told == [JobKind.COUPON_REDEEMED]
    with pytest.raises(CouponRedeemed):
        world.redeem()


@pytest.mark.parametrize("typed", ["", "nonsense", CODE[:-1], OTHER, NOBODYS, "ſ" * 17])
def test_malformed_unknown_and_somebody_else_s_are_one_answer(world: World, typed: str) -> None:
    for act in (
        world.use.redeem(world.asked(typed)),
        world.use.reserve(world.asked(typed, key=KEY)),
        world.use.confirm(world.asked(typed), uuid4()),
    ):
        with pytest.raises(UnknownCoupon):
            run(act)
    assert world.coupons.told == []


def test_sent_again_under_its_key_it_is_success_again_and_no_second_time(world: World) -> None:
    for _ in range(3):
        world.redeem(key=KEY)
    world.redeem(CODE.lower(), key=KEY)  # the same code
    assert world.coupons.told == [JobKind.COUPON_REDEEMED]
    for key in (None, "another key of theirs"):
        with pytest.raises(CouponRedeemed):
            world.redeem(key=key)


def test_a_day_later_the_key_means_nothing_and_the_coupon_is_redeemed_all_the_same(world: World) -> None:
    world.redeem(key=KEY)
    world.coupons.keys.let_pass(KEPT_S)
    with pytest.raises(CouponRedeemed):
        world.redeem(key=KEY)


def test_another_coupon_under_the_key_is_refused_and_another_user_has_other_keys(world: World) -> None:
    world.redeem(key=KEY)
    with pytest.raises(IdempotencyKeyReused):
        world.redeem(OTHER, key=KEY)
    world.redeem(OTHER, key=KEY, by=world.ann)


def test_what_is_done_with_a_coupon_is_part_of_the_request(world: World) -> None:
    kept = run(world.use.reserve(world.asked(key=KEY)))
    run(world.use.confirm(world.asked(key=KEY), kept.reservation_id))
    run(world.use.confirm(world.asked(key=KEY), kept.reservation_id))
    with pytest.raises(IdempotencyKeyReused):
        run(world.use.confirm(world.asked(key=KEY), uuid4()))
    assert world.coupons.told == [JobKind.COUPON_RESERVED, JobKind.COUPON_REDEEMED]


def test_a_refusal_is_not_kept(world: World) -> None:
    world.coupons.set_last_day(CODE, days_ahead=-1)
    with pytest.raises(CouponExpired):
        world.redeem(key=KEY)
    world.coupons.set_last_day(CODE, days_ahead=0)
    world.redeem(key=KEY)


def test_a_reservation_sent_again_is_the_same_while_it_stands(world: World) -> None:
    kept = run(world.use.reserve(world.asked(key=KEY)))
    assert run(world.use.reserve(world.asked(key=KEY))) == kept
    with pytest.raises(CouponReserved):
        run(world.use.reserve(world.asked()))
    run(world.use.release(world.asked(key=KEY), kept.reservation_id))
    with pytest.raises(ReservationOver):
        run(world.use.reserve(world.asked(key=KEY)))


def test_racing_requests_under_one_key_all_hear_success(world: World) -> None:
    async def race() -> None:
        await gather(*(world.use.redeem(world.asked(key=KEY)) for _ in range(20)))

    run(race())
    assert world.coupons.told == [JobKind.COUPON_REDEEMED]


def test_who_guesses_waits_and_nothing_is_looked_at(world: World) -> None:
    for _ in range(OF_A_USER):
        with pytest.raises(UnknownCoupon):
            world.redeem(NOBODYS)
    asked = world.coupons.asked
    with pytest.raises(TooManyAttempts):
        world.redeem()
    assert world.coupons.asked == asked
    world.clock.advance(1_200)
    world.redeem()


def test_racing_guesses_are_no_more_than_others(world: World) -> None:
    """However many are under way at once, no more are looked at than may fail."""

    async def race() -> list[BaseException | None]:
        return await gather(*(world.use.redeem(world.asked(NOBODYS)) for _ in range(20)), return_exceptions=True)

    outcomes = run(race())
    assert sum(isinstance(outcome, UnknownCoupon) for outcome in outcomes) == world.coupons.asked == OF_A_USER


def test_the_right_code_is_not_refused_for_the_wrong_ones_of_others(world: World) -> None:
    """Who shares an address with guessers, or whose code others try."""
    for _ in range(OF_AN_ADDRESS):
        with pytest.raises(UnknownCoupon):
            world.redeem(CODE, by=uuid4(), address=HOME)
    with pytest.raises(TooManyAttempts):
        world.redeem(CODE, by=uuid4(), address=HOME)
    world.redeem(CODE, address=HOME)


def test_what_is_refused_for_another_reason_is_no_guess(world: World) -> None:
    world.redeem()
    for _ in range(2 * OF_AN_ADDRESS):
        with pytest.raises(CouponRedeemed):
            world.redeem(address=HOME)


def test_the_profile_is_read_anew_after_it_whatever_became_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.redeem()
    assert world.profiles.forgotten == [world.bob]

    async def cancelled() -> None:
        cut = create_task(world.use.redeem(world.asked(OTHER, by=world.ann)))

        async def for_ever(*_: object, **__: object) -> None:
            await sleep(3_600)

        monkeypatch.setattr(world.coupons, "redeem", for_ever)  # as a slow database
        while not cut.done():
            await sleep(0)
            cut.cancel()
        with pytest.raises(CancelledError):
            await cut

    run(cancelled())
    assert world.profiles.forgotten == [world.bob, world.ann]
