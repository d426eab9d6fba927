"""All routes of the public port: the contract as one list."""

from dataclasses import dataclass

from tidegate.api.http import Answer, Request
from tidegate.api.routing import Endpoint, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What answers each call; the names follow the paths."""

    login: Endpoint
    register: Endpoint
    refresh: Endpoint
    logout: Endpoint
    read_me: Endpoint
    change_me: Endpoint
    change_password: Endpoint
    list_sessions: Endpoint
    end_session: Endpoint
    list_coupons: Endpoint
    availability: Endpoint
    show_campaign: Endpoint
    redeem_coupon: Endpoint
    reserve_coupon: Endpoint
    confirm_coupon: Endpoint
    release_coupon: Endpoint
    revoke: Endpoint
    introspect: Endpoint
    jwks: Endpoint
    metadata: Endpoint
    live: Endpoint
    ready: Endpoint
    openapi: Endpoint
    docs: Endpoint


def public_routes(answers: Endpoints) -> list[Route]:
    """Return the routes, in the order of DESIGN section 2."""
    return [
        Route("POST", "/login", answers.login),
        Route("POST", "/register", answers.register),
        Route("POST", "/refresh", answers.refresh),
        Route("POST", "/logout", answers.logout),
        Route("GET", "/me", answers.read_me),
        Route("PATCH", "/me", answers.change_me),
        Route("POST", "/me/password", answers.change_password),
        Route("GET", "/me/sessions", answers.list_sessions),
        Route("DELETE", "/me/sessions/{id}", answers.end_session),
        Route("GET", "/me/coupons", answers.list_coupons),
        Route("GET", "/availability", answers.availability),
        Route("GET", "/campaigns/{code}", answers.show_campaign),
        Route("POST", "/coupons/{code}/redeem", answers.redeem_coupon),
        Route("POST", "/coupons/{code}/reserve", answers.reserve_coupon),
        Route("POST", "/coupons/{code}/confirm", answers.confirm_coupon),
        Route("POST", "/coupons/{code}/release", answers.release_coupon),
        Route("POST", "/revoke", answers.revoke),
        Route("POST", "/introspect", answers.introspect),
        Route("GET", "/.well-known/jwks.json", answers.jwks),
        Route("GET", "/.well-known/oauth-authorization-server", answers.metadata),
        Route("GET", "/health/live", answers.live),
        Route("GET", "/health/ready", answers.ready),
        Route("GET", "/openapi.json", answers.openapi),
        Route("GET", "/docs", answers.docs),
        Route("GET", "/", _to_docs),
    ]


async def _to_docs(_request: Request) -> Answer:
    """Answer a person who opens the bare address in a browser."""
    return Answer(307, b"", [(b"location", b"/docs"), (b"cache-control", b"public, max-age=300")])
