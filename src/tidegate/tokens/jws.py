"""Verifies a compact JWS (RFC 7515) more strictly than any library: one key, one algorithm, one way to write it.

joserfc checks the signature; what it, like every library tried, is too kind about is refused here before it sees the token.
The algorithm is a property of the key (RFC 8725 section 3.1): the header may only agree with it.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Never

from joserfc.jwk import Key, import_key
from joserfc.jws import JWSRegistry, deserialize_compact

from tidegate.tokens import base64url

TOKEN_CHARACTERS_MAX: Final = 4096
"""Ours have about 520; what is longer is refused unread, so that a token of megabytes costs nothing."""

HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})
"""All a header may hold. Not `crit`, `b64` or `zip`, which change what is signed; not `jwk`, `jku`, `x5u` or `x5c`: a token
does not bring the key that proves it (RFC 8725 section 3.10)."""


class InvalidJws(Exception):  # noqa: N818 -- a refusal, like those of domain/errors.py, but it never leaves this package
    """The token is not a compact JWS, or not signed by the key. Says no more, so that no token gets into an error text."""


class _OneAlgorithm(JWSRegistry):
    """Lets joserfc use one algorithm, whatever it would recommend.

    joserfc warns on each use of `EdDSA`, which RFC 9864 renamed `Ed25519` in 2025. RFC 9068 resource servers and their
    libraries still know the old name only, so it is meant.
    """

    def __init__(self, alg: str) -> None:
        super().__init__(algorithms=[alg])
        self._only = self.algorithms[alg]

    def get_alg(self, name: str) -> Any:  # noqa: ANN401 -- as in the class above; joserfc does not export the model
        if name != self._only.name:
            raise InvalidJws
        return self._only


class VerificationKey:
    """One key together with the one algorithm it is for.

    Args:
        jwk: A JWK (RFC 7517), public or symmetric.
        alg: The algorithm to verify with (RFC 7518, RFC 8037). The JWK's own `alg`, where it has one, must be the same.

    Raises:
        ValueError: The JWK is malformed, or is not for verifying signatures of this algorithm.
    """

    def __init__(self, jwk: dict[str, Any], *, alg: str) -> None:
        try:
            self._registry = _OneAlgorithm(alg)
            self._key: Key = import_key(jwk)
            self._key.check_key_op("verify")
            self._registry.get_alg(alg).check_key(self._key)
        except Exception:  # joserfc raises a dozen kinds, and some carry the key
            raise ValueError("the JWK is not one that verifies with this algorithm") from None
        self.alg = alg

    def payload_of(self, token: str) -> bytes:
        """Return what *token*, a compact JWS, says, its signature verified; raises whatever joserfc raises."""
        payload = deserialize_compact(token, self._key, registry=self._registry).payload
        if payload is None:
            raise InvalidJws
        return payload


@dataclass(frozen=True, slots=True, repr=False)
class UnverifiedJws:
    """A token of the right form, of which nothing is proven. Good for nothing but finding the key that may prove it.

    Attributes:
        token: As it came.
        alg: Header parameter `alg`, as claimed.
        kid: Header parameter `kid`, as claimed, or None.
        typ: Header parameter `typ`, as claimed, or None.
    """

    token: str
    alg: str
    kid: str | None
    typ: str | None


def read_json_object(octets: bytes) -> dict[str, Any]:
    """Return the JSON object that *octets* hold in UTF-8, if no member stands twice (RFC 7515, 7519: section 4).

    Raises:
        ValueError: They hold something else.
    """
    found = json.loads(octets.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- the value is at fault, not the caller's type
    return found


def parse(token: str) -> UnverifiedJws:
    """Return *token* taken apart, if it is a compact JWS in its canonical form.

    Raises:
        InvalidJws: Whatever is wrong.
    """
    try:
        return _parse(token)
    except Exception:  # a token is a stranger's text: no way in which it fails is a fault of ours
        raise InvalidJws from None


def verify(jws: UnverifiedJws, key: VerificationKey, *, typ: str | None) -> bytes:
    """Return the payload of *jws*, proven by *key*.

    Args:
        jws: From `parse`.
        key: The only key that is tried.
        typ: What the header's `typ` must be, to the letter (RFC 8725 section 3.11); None: it must have none.

    Raises:
        InvalidJws: Another algorithm, another type or not this key's signature.
    """
    if jws.alg != key.alg or jws.typ != typ:
        raise InvalidJws
    try:
        return key.payload_of(jws.token)
    except Exception:  # as in `parse`
        raise InvalidJws from None


def _parse(token: str) -> UnverifiedJws:
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise InvalidJws
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise InvalidJws
    octets, *_ = [base64url.decode(part) for part in parts]
    header = read_json_object(octets)
    if not header.keys() <= HEADER_MEMBERS:
        raise InvalidJws
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(alg, str) or not _is_absent_or_text(header, "kid", "typ"):
        raise InvalidJws
    return UnverifiedJws(token, alg, kid, typ)


def _is_absent_or_text(header: dict[str, Any], *members: str) -> bool:
    return all(isinstance(header.get(member, ""), str) for member in members)


def _without_duplicates(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a member stands twice")
    return found


def _refuse_constant(name: str) -> Never:
    """Refuse NaN and Infinity, which Python reads and JSON does not know."""
    raise ValueError(name)
