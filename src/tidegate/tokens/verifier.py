"""Verifies access tokens of our own (RFC 9068 section 4): every claim is there and true, or the token is refused."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec

from tidegate.domain.claims import AccessClaims
from tidegate.domain.errors import InvalidAccessToken
from tidegate.tokens import jws
from tidegate.tokens.issuer import TYP, Claims
from tidegate.tokens.keys import KeyRing

LEEWAY_S_MAX: Final = 5
"""Enough for clocks that are set by NTP; more would let a token of the future in."""


class AccessTokenVerifier:
    """Verifies access tokens.

    Args:
        keys: Whose keys verify.
        issuer: What claim `iss` must be.
        audience: What claim `aud` must be or contain.
        now: The clock, seconds since 1970.
        leeway_s: By how much the clock of the node that issued may be ahead of ours. Expiry knows no leeway.

    Raises:
        ValueError: The leeway is not between 0 and 5 s.
    """

    def __init__(
        self, *, keys: KeyRing, issuer: str, audience: str, now: Callable[[], float], leeway_s: int = LEEWAY_S_MAX
    ) -> None:
        if not 0 <= leeway_s <= LEEWAY_S_MAX:
            raise ValueError(f"leeway_s must be between 0 and {LEEWAY_S_MAX}")
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._leeway_s = leeway_s

    def verify(self, token: str) -> AccessClaims:
        """Return the claims of *token*, every one verified. Says nothing of revocation.

        Raises:
            InvalidAccessToken: Whatever is wrong with it; which is nobody's business but the issuer's.
        """
        try:
            return self._verified(token)
        except Exception:  # a stranger's text may fail in any way; the cause may quote the token, so it ends here
            raise InvalidAccessToken from None

    def _verified(self, token: str) -> AccessClaims:
        unverified = jws.parse(token)
        key = self._keys.find(unverified.kid) if unverified.kid is not None else None
        if key is None:
            raise InvalidAccessToken
        payload = jws.verify(unverified, key.verification_key, typ=TYP)
        claims = msgspec.convert(jws.read_json_object(payload), Claims)
        now = self._now()
        if not (
            claims.iss == self._issuer
            and (claims.aud == self._audience or (isinstance(claims.aud, list) and self._audience in claims.aud))
            and claims.jti
            and claims.client_id
            and claims.iat <= now + self._leeway_s
            and claims.exp > now
        ):
            raise InvalidAccessToken
        return AccessClaims(
            user_id=_canonical_uuid(claims.sub),
            session_id=_canonical_uuid(claims.sid),
            expires_at=claims.exp,
            issued_at=claims.iat,
            token_id=claims.jti,
            client_id=claims.client_id,
        )


def _canonical_uuid(text: str) -> UUID:
    """Return the UUID that *text* is in the form of RFC 9562 section 4; Python would take braces and `urn:uuid:` too."""
    found = UUID(text)
    if str(found) != text:
        raise ValueError("not a UUID in its canonical form")
    return found
