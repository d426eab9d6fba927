"""POST /introspect (RFC 7662)."""

import binascii
from base64 import b64decode
from dataclasses import dataclass, field
from hmac import compare_digest
from urllib.parse import unquote_plus

from tidegate.api.fields import read_form, required_field
from tidegate.api.http import Answer, Request
from tidegate.api.schemas import Introspection, encode
from tidegate.domain.errors import InvalidClient
from tidegate.domain.throttling import CounterKind, address_counters
from tidegate.ports.throttling import Throttle
from tidegate.usecases.introspect import Introspect


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectEndpoint:
    """Client credentials (RFC 6749 section 2.3.1, HTTP Basic); form: `token`.

    Attributes:
        client_id: Who may ask; None: nobody.
        client_secret: The client's.
        issuer: Told of an active token, claim ``iss``.
        audience: Likewise, claim ``aud``.
    """

    introspect: Introspect
    throttle: Throttle
    client_id: str | None
    client_secret: str | None = field(repr=False)
    issuer: str
    audience: str

    async def __call__(self, request: Request) -> Answer:
        """Answer 200: active or not."""
        counters = address_counters(CounterKind.CLIENT, request.address)
        self.throttle.check(counters)
        if not self._is_client(request):
            self.throttle.count(counters)
            raise InvalidClient
        claims = await self.introspect(required_field(read_form(request), "token"))
        if claims is None:
            return Answer(200, encode(Introspection(active=False)))
        found = Introspection(
            active=True,
            token_type="Bearer",  # noqa: S106 - a type, not a token
            iss=self.issuer,
            aud=self.audience,
            sub=str(claims.user_id),
            client_id=claims.client_id,
            sid=str(claims.session_id),
            jti=claims.token_id,
            exp=claims.expires_at,
            iat=claims.issued_at,
        )
        return Answer(200, encode(found))

    def _is_client(self, request: Request) -> bool:
        if self.client_id is None or self.client_secret is None:
            return False
        scheme, _, encoded = (request.header(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            name, _, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        # Both are compared whatever the first says, so that the time tells neither. Clients form-encode both.
        is_name = compare_digest(unquote_plus(name).encode(), self.client_id.encode())
        is_secret = compare_digest(unquote_plus(secret).encode(), self.client_secret.encode())
        return is_name and is_secret
