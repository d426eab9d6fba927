"""Makes access tokens (RFC 9068), signed by the key that is current."""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec

from tidegate.tokens import base64url
from tidegate.tokens.keys import KeyRing
from tidegate.tokens.keyset import ALG

TYP: Final = "at+jwt"
"""RFC 9068 section 2.1."""

JITTER_SHARE_MAX: Final = 0.1
"""More would make the lifetime that is configured a lie."""

JTI_OCTETS: Final = 16
"""128 random bits: no two tokens share an id, and nobody guesses one."""


class Claims(msgspec.Struct, kw_only=True):
    """The claims of an access token, as RFC 9068 section 2.2 requires them, and `sid`: which session it is of.

    `sid` is OpenID Connect's name for it (Front-Channel Logout section 3).
    """

    iss: str
    sub: str
    aud: str | list[str]
    client_id: str
    sid: str
    iat: int
    exp: int
    jti: str


class AccessTokenIssuer:
    """Issues access tokens.

    Args:
        keys: Whose signer signs.
        issuer: Claim `iss`.
        audience: Claim `aud`.
        client_id: Claim `client_id`: the first party that all logins of the contract belong to.
        ttl_s: How long a token lives at most.
        ttl_jitter_s: By how much less it may live, at random, so that those of a crowd that came together do not expire
            together.
        now: The clock, seconds since 1970.
        random: Uniform in [0, 1).

    Raises:
        ValueError: The jitter is negative or over a tenth of the lifetime.
    """

    def __init__(
        self,
        *,
        keys: KeyRing,
        issuer: str,
        audience: str,
        client_id: str,
        ttl_s: int,
        ttl_jitter_s: int,
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        if not 0 <= ttl_jitter_s <= ttl_s * JITTER_SHARE_MAX:
            raise ValueError("ttl_jitter_s must be between 0 and a tenth of ttl_s")
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._client_id = client_id
        self._ttl_s = ttl_s
        self._ttl_jitter_s = ttl_jitter_s
        self._now = now
        self._random = random

    def issue(self, user_id: UUID, session_id: UUID) -> str:
        """Return a new token of *user_id* in *session_id*; two calls never give the same."""
        key = self._keys.signer()
        issued_at = int(self._now())
        claims = Claims(
            iss=self._issuer,
            sub=str(user_id),
            aud=self._audience,
            client_id=self._client_id,
            sid=str(session_id),
            iat=issued_at,
            exp=issued_at + self._ttl_s - int(self._random() * (self._ttl_jitter_s + 1)),
            jti=base64url.encode(os.urandom(JTI_OCTETS)),
        )
        signed = f"{_header(key.kid)}.{base64url.encode(msgspec.json.encode(claims))}"
        return f"{signed}.{base64url.encode(key.sign(signed.encode('ascii')))}"


@lru_cache(maxsize=8)
def _header(kid: str) -> str:
    """Return the encoded header of all tokens of one key; never more than three keys are about."""
    return base64url.encode(msgspec.json.encode({"alg": ALG, "kid": kid, "typ": TYP}))
