"""Which keys sign, verify and are published at a moment: the rules of rotation, without a file or a clock.

A key lives through three states. It is *waiting* from the moment the file holds it: published and verified with, but not
signing. It is *signing* from its `sign_from` on, until a later key's comes. It is *retiring* from then on: still published,
because tokens that it signed are still good, until a rotation drops it.

So that no token is ever refused for its key, two times must hold, whatever process made it and whichever verifies it:

- publish before sign: from publication to `sign_from`, longer than every process needs to read the file again and every
  cache of the JWKS needs to expire after that (`lead_s_min`);
- drop after expiry: from the successor's `sign_from` until it is dropped, longer than a token lives (`keep_s_min`).
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import Final, Self

import msgspec
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_seed_keypair

from tidegate.tokens import base64url
from tidegate.tokens.jws import VerificationKey

ALG: Final = "EdDSA"
"""RFC 8037 section 3.1. RFC 9864 calls the same thing Ed25519, which hardly a resource server knows yet."""

CLOCK_MARGIN_S: Final = 30
"""What clocks of two nodes may differ by. NTP keeps them within milliseconds: this covers a node without it for a while."""


def lead_s_min(*, jwks_cached_s_max: int, reload_interval_s: float) -> int:
    """Return for how long a key must be published before it signs, in whole seconds.

    Args:
        jwks_cached_s_max: For how long a cache may serve the JWKS: `max-age` and `stale-while-revalidate` together.
        reload_interval_s: How often a process looks whether the file has changed. A cache may ask one that is about to.
    """
    return jwks_cached_s_max + int(reload_interval_s) + 1 + CLOCK_MARGIN_S


def keep_s_min(*, access_token_ttl_s_max: int, leeway_s: int) -> int:
    """Return for how long a key must stay published after its successor began to sign, in whole seconds.

    Args:
        access_token_ttl_s_max: How long an access token lives at most.
        leeway_s: What verifiers forgive.
    """
    return access_token_ttl_s_max + leeway_s + CLOCK_MARGIN_S


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """One Ed25519 key (RFC 8032) and when it signs.

    Attributes:
        seed: The private key, 32 octets.
        published_at: When the file got it, seconds since 1970.
        sign_from: From when it signs, likewise.
    """

    seed: bytes = field(repr=False)
    published_at: int
    sign_from: int

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise ValueError("an Ed25519 private key has 32 octets")

    @cached_property
    def _key_pair(self) -> tuple[bytes, bytes]:
        """The public key, and the private key as libsodium takes it: the seed and the public key again (ADR 0031)."""
        pair: tuple[bytes, bytes] = crypto_sign_seed_keypair(self.seed)
        return pair

    def sign(self, message: bytes) -> bytes:
        """Return the signature of *message*, 64 octets (RFC 8032 section 5.1.6)."""
        signed: bytes = crypto_sign(message, self._key_pair[1])
        return signed[:crypto_sign_BYTES]

    @cached_property
    def x(self) -> str:
        """The public key as its JWK member `x` (RFC 8037 section 2)."""
        return base64url.encode(self._key_pair[0])

    @cached_property
    def kid(self) -> str:
        """The JWK thumbprint (RFC 7638, RFC 8037 section 2): the same key has the same id wherever it is computed."""
        required = f'{{"crv":"Ed25519","kty":"OKP","x":"{self.x}"}}'
        return base64url.encode(sha256(required.encode("ascii")).digest())

    @cached_property
    def public_jwk(self) -> dict[str, str]:
        """The public key as a JWK (RFC 7517)."""
        return {"kty": "OKP", "crv": "Ed25519", "x": self.x, "kid": self.kid, "alg": ALG, "use": "sig"}

    @cached_property
    def verification_key(self) -> VerificationKey:
        """What verifies."""
        return VerificationKey(dict(self.public_jwk), alg=ALG)


class KeyState(StrEnum):
    """What a key does at a moment."""

    WAITING = "waiting"
    """Published, signs later."""
    SIGNING = "signing"
    """Signs now."""
    RETIRING = "retiring"
    """Signed once; published for the tokens that are still out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedKey:
    """What an operator may see of a key.

    Attributes:
        kid: Its id.
        state: What it does now.
        since: Since when, seconds since 1970.
        until: When that ends, likewise; None while nobody knows: no successor yet, or no rotation that drops it.
    """

    kid: str
    state: KeyState
    since: int
    until: int | None


@dataclass(frozen=True)
class KeySet:
    """All keys of a moment, at least one, in the order in which they sign.

    Raises:
        ValueError: No key, one key twice, or not in that order.
    """

    keys: tuple[SigningKey, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("there must be a key")
        if len({key.kid for key in self.keys}) != len(self.keys):
            raise ValueError("a key stands twice")
        if any(later.sign_from < key.sign_from for key, later in pairwise(self.keys)):
            raise ValueError("the keys are not in the order in which they sign")

    @classmethod
    def first(cls, seed: bytes, *, now: float) -> Self:
        """Return a set of one key that signs at once: there is no token yet that anything else could verify."""
        return cls((SigningKey(seed=seed, published_at=int(now), sign_from=int(now)),))

    def signer(self, now: float) -> SigningKey:
        """Return the key that signs at *now*.

        That is the newest whose `sign_from` has come. The oldest signs before that too: on a node whose clock is late.
        """
        for key in reversed(self.keys):
            if key.sign_from <= now:
                return key
        return self.keys[0]

    def waiting(self, now: float) -> SigningKey | None:
        """Return the key that is published but does not sign yet, if there is one: then a rotation is under way.

        One at a time: a second key beside it, added by mistake or by an impatient timer, would only make the set longer,
        and with a shorter lead it would overtake the first.
        """
        last = self.keys[-1]
        return last if last is not self.signer(now) else None

    def rotated(self, seed: bytes, *, lead_s: int, keep_s: int, now: float) -> Self:
        """Return the set with a new key that signs after *lead_s*, and without those that nobody needs any more.

        With neither lead nor keep the new key takes the place of all others at once, of a waiting one too: whoever has
        stolen the file has that as well.

        Args:
            seed: The new key's private key.
            lead_s: At least `lead_s_min`.
            keep_s: At least `keep_s_min`.
            now: Seconds since 1970.

        Raises:
            ValueError: A key is `waiting`.
        """
        if lead_s == keep_s == 0:
            return self.first(seed, now=now)
        if self.waiting(now):
            raise ValueError("a key waits to sign")
        new = SigningKey(seed=seed, published_at=int(now), sign_from=int(now) + lead_s)
        kept = (key for key, successor in pairwise((*self.keys, new)) if successor.sign_from + keep_s > now)
        return replace(self, keys=(*kept, new))

    def listed(self, now: float) -> list[ListedKey]:
        """Return what each key does at *now*, the one that signs last first."""
        signer = self.keys.index(self.signer(now))
        rows = []
        for i, key in enumerate(self.keys):
            successor = self.keys[i + 1] if i + 1 < len(self.keys) else None
            signs_until = successor.sign_from if successor else None
            if i > signer:
                row = ListedKey(kid=key.kid, state=KeyState.WAITING, since=key.published_at, until=key.sign_from)
            elif i == signer:
                row = ListedKey(kid=key.kid, state=KeyState.SIGNING, since=key.sign_from, until=signs_until)
            else:
                row = ListedKey(kid=key.kid, state=KeyState.RETIRING, since=signs_until or key.sign_from, until=None)
            rows.append(row)
        return rows[::-1]

    @cached_property
    def by_kid(self) -> dict[str, SigningKey]:
        """The keys by their id: each of them verifies."""
        return {key.kid: key for key in self.keys}

    @cached_property
    def public_jwks(self) -> bytes:
        """The JWK Set (RFC 7517 section 5) as everybody may see it."""
        return msgspec.json.encode({"keys": [key.public_jwk for key in reversed(self.keys)]})
