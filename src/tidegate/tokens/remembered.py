"""Verifies each access token once: checking a signature costs a hundred times what remembering that it was right does."""

from collections import OrderedDict
from collections.abc import Callable

from tidegate.domain.claims import AccessClaims
from tidegate.tokens.keys import KeyRing
from tidegate.tokens.keyset import KeySet
from tidegate.tokens.verifier import AccessTokenVerifier


class RememberingVerifier:
    """Remembers the tokens that were right, the latest used; its times are looked at anew, revocation is not its matter.

    What a stranger makes up is never remembered, so it can push nothing out. A change of the keys forgets everything: the
    key of a token may have been dropped.

    Args:
        verifier: Asked about every token that is not remembered.
        keys: The verifier's.
        now: The clock, seconds since 1970.
        remembered_max: How many tokens; each takes about 1.5 KB.
    """

    def __init__(
        self, verifier: AccessTokenVerifier, *, keys: KeyRing, now: Callable[[], float], remembered_max: int
    ) -> None:
        self._verifier = verifier
        self._keys = keys
        self._now = now
        self._remembered_max = remembered_max
        self._remembered: OrderedDict[str, AccessClaims] = OrderedDict()
        self._verified_with: KeySet = keys.current

    def verify(self, token: str) -> AccessClaims:
        """See `AccessTokenVerifier.verify`."""
        if self._keys.current is not self._verified_with:
            self._remembered.clear()
            self._verified_with = self._keys.current
        claims = self._remembered.get(token)
        if claims is not None:
            if claims.issued_at <= self._now() < claims.expires_at:
                self._remembered.move_to_end(token)
                return claims
            # Expired, or the time was set back to before it was issued, for which the verifier knows a leeway.
            del self._remembered[token]
        claims = self._verifier.verify(token)
        self._remembered[token] = claims
        if len(self._remembered) > self._remembered_max:
            self._remembered.popitem(last=False)
        return claims
