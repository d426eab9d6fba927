"""Lets the owner of a coupon use it once: at once, or around a payment."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from tidegate.domain.coupon_codes import read_coupon_code
from tidegate.domain.coupons import Reservation
from tidegate.domain.errors import UnknownCoupon
from tidegate.domain.idempotency import KeyedRequest, Keying, Operation
from tidegate.domain.throttling import CounterKind, address_counters, coupon_counters
from tidegate.ports.coupons import Coupons
from tidegate.ports.ids import Ids
from tidegate.ports.profiles import Profiles
from tidegate.ports.throttling import Throttle
from tidegate.usecases.act_once import ActOnce

Act = Callable[[str, KeyedRequest | None], Awaitable[UUID]]
"""What is to be done with the coupon of a code, together with the key of a request; the id of what it made."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CouponRequest:
    """Who wants something of which coupon. It has no repr, for it holds the code.

    Attributes:
        typed: The code as it came.
        address: The client's.
        key: The client's idempotency key; None: the request may happen again.
    """

    user_id: UUID
    typed: str
    address: str | None
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCoupon:
    """What an owner does with a coupon.

    Raises:
        Refusal: As `ports.coupons.Coupons`.
        UnknownCoupon: Likewise of what cannot be a code; each counts against the user and the address.
        TooManyAttempts: The user has tried too many wrong codes, and nothing is looked at; or so has the address, and this
            was another. Somebody with the right code is never refused for what others at the address do.
        IdempotencyKeyReused: Another request took effect under the key.
        Unavailable: No database in time; the coupon may have been used all the same, which a repetition under the same key
            tells.

    Attributes:
        profiles: Show coupons too; after each request they are read anew.
    """

    coupons: Coupons
    profiles: Profiles
    throttle: Throttle
    act_once: ActOnce
    keying: Keying
    ids: Ids

    async def redeem(self, request: CouponRequest) -> None:
        """Use the coupon: this request or none ever again."""

        async def act(code: str, once: KeyedRequest | None) -> UUID:
            await self.coupons.redeem(request.user_id, code, once=once)
            return request.user_id

        await self._use(Operation.REDEEM, request, act)

    async def reserve(self, request: CouponRequest) -> Reservation:
        """Keep the coupon for a payment, for a time; a repetition is told of the same reservation, while it stands."""
        made: list[Reservation] = []

        async def act(code: str, once: KeyedRequest | None) -> UUID:
            reservation_id = self.ids.coupon_id()
            made.append(await self.coupons.reserve(request.user_id, code, reservation_id=reservation_id, once=once))
            return reservation_id

        reservation_id = await self._use(Operation.RESERVE, request, act)
        if made:
            return made[0]
        return await self.coupons.reservation(request.user_id, read_coupon_code(request.typed) or "", reservation_id)

    async def confirm(self, request: CouponRequest, reservation_id: UUID) -> None:
        """Use the coupon that is kept: the payment is through."""

        async def act(code: str, once: KeyedRequest | None) -> UUID:
            await self.coupons.confirm(request.user_id, code, reservation_id=reservation_id, once=once)
            return reservation_id

        await self._use(Operation.CONFIRM, request, act, str(reservation_id))

    async def release(self, request: CouponRequest, reservation_id: UUID) -> None:
        """Let the coupon go: there was no payment."""

        async def act(code: str, once: KeyedRequest | None) -> UUID:
            await self.coupons.release(request.user_id, code, reservation_id=reservation_id, once=once)
            return reservation_id

        await self._use(Operation.RELEASE, request, act, str(reservation_id))

    async def _use(self, operation: Operation, request: CouponRequest, act: Act, *fields: str) -> UUID:
        with await self.throttle.admit(coupon_counters(request.user_id)) as attempt:
            try:
                return await self._act(operation, request, act, *fields)
            except UnknownCoupon:
                await attempt.fail()
                # Only now: whoever shares an address with guessers, and has the right code, does not come here.
                self.throttle.count(address_counters(CounterKind.COUPON_ADDRESS, request.address))
                raise

    async def _act(self, operation: Operation, request: CouponRequest, act: Act, *fields: str) -> UUID:
        code = read_coupon_code(request.typed)
        if code is None:
            raise UnknownCoupon
        try:
            if request.key is None:
                return await act(code, None)
            caller = request.user_id.bytes
            keyed = self.keying(operation, request.key, caller=caller, fields=[code, *fields])
            return await self.act_once(keyed, lambda: act(code, keyed))
        finally:  # also where it failed: the line may have been cut behind the commit
            await self.profiles.forget(request.user_id)
