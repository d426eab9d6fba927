"""What an API process does for owners of coupons and for who looks at campaigns."""

from time import monotonic

from tidegate.api.endpoints.campaigns import CampaignEndpoint
from tidegate.api.endpoints.coupons import CouponEndpoints, MyCouponsEndpoint
from tidegate.api.routing import Endpoint
from tidegate.config import Settings
from tidegate.ports.profiles import Profiles
from tidegate.storage.coupons import PostgresCoupons
from tidegate.storage.pools import PrimaryPool
from tidegate.throttle.throttle import CountingThrottle
from tidegate.tokens.ids import RandomIds
from tidegate.usecases.act_once import ActOnce
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.use_coupon import UseCoupon
from tidegate.wiring.parts import request_keying


def coupon_endpoints(
    settings: Settings,
    primary: PrimaryPool,
    *,
    profiles: Profiles,
    throttle: CountingThrottle,
    act_once: ActOnce,
    authenticate: Authenticate,
) -> dict[str, Endpoint]:
    """The endpoints of coupons and campaigns, by their names in `api.contract.Endpoints`."""
    coupons = PostgresCoupons(primary, reservation_s=settings.coupon_reservation_s)
    use = UseCoupon(
        coupons=coupons,
        profiles=profiles,
        throttle=throttle,
        act_once=act_once,
        keying=request_keying(settings),
        ids=RandomIds(),
    )
    owned = CouponEndpoints(authenticate=authenticate, use=use)
    return {
        "show_campaign": CampaignEndpoint(coupons, monotonic=monotonic),
        "list_coupons": MyCouponsEndpoint(authenticate=authenticate, coupons=coupons),
        "redeem_coupon": owned.redeem,
        "reserve_coupon": owned.reserve,
        "confirm_coupon": owned.confirm,
        "release_coupon": owned.release,
    }
