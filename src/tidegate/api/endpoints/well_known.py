"""GET /.well-known/jwks.json and /.well-known/oauth-authorization-server."""

from collections.abc import Callable
from typing import Final

import msgspec

from tidegate.api.http import JSON_TYPE, Answer, Request
from tidegate.api.routing import Endpoint

JWKS_CACHE_S: Final = 300
"""How long a cache may answer with old keys in all: `keys rotate` publishes a key longer than this before it signs."""

_JWKS_CACHING: Final = (b"cache-control", f"public, max-age={JWKS_CACHE_S - 60}, stale-while-revalidate=60".encode())
EDGE_CACHING: Final = (b"cache-control", b"public, max-age=300, stale-while-revalidate=86400")


def jwks_endpoint(jwks: Callable[[], bytes]) -> Endpoint:
    """Answer with the public keys (RFC 7517): those that sign, that will, and whose tokens still live."""

    async def answer(_request: Request) -> Answer:
        return Answer(200, jwks(), [JSON_TYPE, _JWKS_CACHING])

    return answer


def metadata_endpoint(issuer: str) -> Endpoint:
    """Answer with what clients ask of an authorization server (RFC 8414 section 2)."""
    body = msgspec.json.encode(
        {
            "issuer": issuer,
            "token_endpoint": f"{issuer}/refresh",
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "revocation_endpoint": f"{issuer}/revoke",
            "introspection_endpoint": f"{issuer}/introspect",
            "service_documentation": f"{issuer}/docs",
            "response_types_supported": [],
            "grant_types_supported": ["refresh_token"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        }
    )
    return fixed_endpoint(body, "application/json")


def fixed_endpoint(body: bytes, media_type: str) -> Endpoint:
    """Answer always the same, for everybody and for the edge to keep."""
    answer_always = Answer(200, body, [(b"content-type", media_type.encode()), EDGE_CACHING])

    async def answer(_request: Request) -> Answer:
        return answer_always

    return answer
