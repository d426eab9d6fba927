"""GET /me/coupons, and what an owner does with one: POST /coupons/{code}/redeem, reserve, confirm, release."""

from dataclasses import dataclass
from uuid import UUID

from tidegate.api.bearer import authenticated
from tidegate.api.errors import SUCCESS
from tidegate.api.fields import read_form, read_id, required_field
from tidegate.api.http import Answer, Request
from tidegate.api.idempotency import idempotency_key
from tidegate.api.schemas import CouponsBody, ReservationBody, encode
from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.ports.coupons import Coupons
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.use_coupon import CouponRequest, UseCoupon


@dataclass(frozen=True, slots=True, kw_only=True)
class MyCouponsEndpoint:
    """Bearer."""

    authenticate: Authenticate
    coupons: Coupons

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with how far the caller has come, and with their coupons."""
        claims = await authenticated(request, self.authenticate)
        return Answer(200, encode(CouponsBody.of(await self.coupons.of_user(claims.user_id))))


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponEndpoints:
    """Bearer; the coupon's owner."""

    authenticate: Authenticate
    use: UseCoupon

    async def redeem(self, request: Request) -> Answer:
        """Answer 200 success: the coupon is used."""
        await self.use.redeem(await self._read(request))
        return Answer(200, SUCCESS)

    async def reserve(self, request: Request) -> Answer:
        """Answer 200 with the reservation."""
        reservation = await self.use.reserve(await self._read(request))
        return Answer(200, encode(ReservationBody.of(reservation)))

    async def confirm(self, request: Request) -> Answer:
        """Form: `reservation`. Answer 200 success: the coupon is used."""
        asked = await self._read(request)
        await self.use.confirm(asked, _reservation(request))
        return Answer(200, SUCCESS)

    async def release(self, request: Request) -> Answer:
        """Form: `reservation`. Answer 200 success: the coupon is free."""
        asked = await self._read(request)
        await self.use.release(asked, _reservation(request))
        return Answer(200, SUCCESS)

    async def _read(self, request: Request) -> CouponRequest:
        claims = await authenticated(request, self.authenticate)
        return CouponRequest(
            user_id=claims.user_id, typed=request.path_value, address=request.address, key=idempotency_key(request)
        )


def _reservation(request: Request) -> UUID:
    found = read_id(required_field(read_form(request), "reservation"))
    if found is None:
        raise InvalidRequest(FieldFault("reservation", "malformed"))
    return found
