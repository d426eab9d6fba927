"""What we issue others verify, and what was changed in any way nobody gets in with."""

import base64 as lenient_base64
import hmac
import json
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet as JoserfcKeySet

from tests.unit.tokens.conftest import AUDIENCE, CLIENT_ID, ISSUER, START, HandClock, make_issuer, make_verifier
from tidegate.domain.claims import AccessClaims
from tidegate.domain.errors import InvalidAccessToken
from tidegate.tokens import base64url
from tidegate.tokens.issuer import AccessTokenIssuer
from tidegate.tokens.keys import KeyRing, create_key_file, rotate
from tidegate.tokens.verifier import AccessTokenVerifier

USER: Final = UUID("3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b")
SESSION: Final = UUID("01937a1e-2f6b-7c3d-9e4f-a0b1c2d3e4f5")
GOOD_CLAIMS: Final[dict[str, Any]] = {
    "iss": ISSUER,
    "sub": str(USER),
    "aud": AUDIENCE,
    "client_id": CLIENT_ID,
    "sid": str(SESSION),
    "iat": START,
    "exp": START + 300,
    "jti": "c29tZXRoaW5nIG5ldw",
}


class Forger:
    """Signs whatever a test wants, with our own key: so the signature is never why a token is refused."""

    def __init__(self, ring: KeyRing) -> None:
        self._key = ring.signer()
        self.header: dict[str, Any] = {"alg": "EdDSA", "kid": self._key.kid, "typ": "at+jwt"}

    def sign(self, header: bytes | dict[str, Any], claims: bytes | dict[str, Any]) -> str:
        parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
        return self.sign_encoded(".".join(base64url.encode(part) for part in parts))

    def sign_encoded(self, signed: str) -> str:
        return f"{signed}.{base64url.encode(self._key.sign(signed.encode()))}"

    def token(self, without: str = "", /, **claims: Any) -> str:
        return self.sign(self.header, {name: value for name, value in (GOOD_CLAIMS | claims).items() if name != without})

    def token_with_header(self, without: str = "", /, **members: Any) -> str:
        return self.sign(
            {name: value for name, value in (self.header | members).items() if name != without}, dict(GOOD_CLAIMS)
        )


@pytest.fixture
def forger(ring: KeyRing) -> Forger:
    return Forger(ring)


def test_the_forger_makes_good_tokens(forger: Forger, verifier: AccessTokenVerifier):
    """Or else the refusals below would prove nothing."""
    assert verifier.verify(forger.token()) == AccessClaims(
        user_id=USER,
        session_id=SESSION,
        expires_at=START + 300,
        issued_at=START,
        token_id=GOOD_CLAIMS["jti"],
        client_id=CLIENT_ID,
    )


def test_what_is_issued_is_verified(issuer: AccessTokenIssuer, verifier: AccessTokenVerifier, clock: HandClock):
    clock.time += 0.75
    claims = verifier.verify(issuer.issue(USER, SESSION))
    assert (claims.user_id, claims.session_id, claims.client_id) == (USER, SESSION, CLIENT_ID)
    assert (claims.issued_at, claims.expires_at) == (START, START + 300)


def test_pyjwt_verifies_what_is_issued(ring: KeyRing):
    token = make_issuer(ring, HandClock(START)).issue(USER, SESSION)
    key = jwt.PyJWKSet.from_json(ring.public_jwks().decode())[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token,
        key,
        algorithms=["EdDSA"],
        audience=AUDIENCE,
        issuer=ISSUER,
        options={"require": list(GOOD_CLAIMS), "verify_exp": False, "verify_iat": False},
    )
    assert {name: claims[name] for name in GOOD_CLAIMS if name != "jti"} == {
        name: GOOD_CLAIMS[name] for name in GOOD_CLAIMS if name != "jti"
    }


def test_joserfc_verifies_what_is_issued_and_reads_the_header_of_rfc_9068(ring: KeyRing, issuer: AccessTokenIssuer):
    keys = JoserfcKeySet.import_key_set(json.loads(ring.public_jwks()))
    with pytest.warns(SecurityWarning, match="RFC 9864"):
        token = joserfc_jwt.decode(issuer.issue(USER, SESSION), keys, algorithms=["EdDSA"])
    assert token.header == {"alg": "EdDSA", "kid": ring.signer().kid, "typ": "at+jwt"}
    assert token.claims.keys() == GOOD_CLAIMS.keys()


def test_no_two_tokens_are_the_same(issuer: AccessTokenIssuer, verifier: AccessTokenVerifier):
    made = {verifier.verify(issuer.issue(USER, SESSION)).token_id for _ in range(50)}
    assert len(made) == 50
    assert {len(token_id) for token_id in made} == {22}


@pytest.mark.parametrize(("random", "ttl_s"), [(0.0, 300), (0.5, 285), (0.999_999, 270)])
def test_tokens_of_one_moment_expire_apart_but_none_lives_longer(
    ring: KeyRing, clock: HandClock, verifier: AccessTokenVerifier, random: float, ttl_s: int
):
    token = make_issuer(ring, clock, ttl_s=300, ttl_jitter_s=30, random=random).issue(USER, SESSION)
    assert verifier.verify(token).expires_at == START + ttl_s


@pytest.mark.parametrize("ttl_jitter_s", [-1, 31])
def test_a_jitter_over_a_tenth_of_the_lifetime_is_refused(ring: KeyRing, clock: HandClock, ttl_jitter_s: int):
    with pytest.raises(ValueError, match="a tenth of ttl_s"):
        make_issuer(ring, clock, ttl_s=300, ttl_jitter_s=ttl_jitter_s)


@pytest.mark.parametrize("leeway_s", [-1, 6])
def test_a_leeway_over_five_seconds_is_refused(ring: KeyRing, clock: HandClock, leeway_s: int):
    with pytest.raises(ValueError, match="leeway_s"):
        make_verifier(ring, clock, leeway_s=leeway_s)


def test_a_token_is_good_until_the_second_it_names(
    issuer: AccessTokenIssuer, verifier: AccessTokenVerifier, clock: HandClock
):
    token = issuer.issue(USER, SESSION)
    clock.time = START + 299.999
    assert verifier.verify(token).user_id == USER
    clock.time = START + 300
    refuses(verifier, token)


def test_a_token_of_a_node_whose_clock_is_ahead_by_the_leeway_is_taken(
    issuer: AccessTokenIssuer, verifier: AccessTokenVerifier, clock: HandClock
):
    token = issuer.issue(USER, SESSION)
    clock.time = START - 2
    assert verifier.verify(token).user_id == USER
    clock.time = START - 2.001
    refuses(verifier, token)


@pytest.mark.parametrize("claim", GOOD_CLAIMS)
def test_every_claim_is_required(forger: Forger, verifier: AccessTokenVerifier, claim: str):
    refuses(verifier, forger.token(claim))


@pytest.mark.parametrize("value", [None, True, 1.5, [], {}, ["x"], {"x": 1}, ""], ids=repr)
@pytest.mark.parametrize("claim", GOOD_CLAIMS)
def test_a_claim_of_another_type_or_empty_is_refused(forger: Forger, verifier: AccessTokenVerifier, claim: str, value: Any):
    refuses(verifier, forger.token(**{claim: value}))


@pytest.mark.parametrize("claim", [claim for claim in GOOD_CLAIMS if claim not in {"iat", "exp"}])
def test_a_number_is_no_text(forger: Forger, verifier: AccessTokenVerifier, claim: str):
    refuses(verifier, forger.token(**{claim: 7}))


@pytest.mark.parametrize("claim", ["iat", "exp"])
def test_a_text_is_no_number(forger: Forger, verifier: AccessTokenVerifier, claim: str):
    refuses(verifier, forger.token(**{claim: str(GOOD_CLAIMS[claim])}))


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", ISSUER + "/"),
        ("iss", ISSUER.upper()),
        ("aud", [AUDIENCE + "/"]),
        ("aud", [[AUDIENCE]]),
        ("aud", AUDIENCE + " "),
        ("sub", str(USER).upper()),
        ("sub", USER.hex),
        ("sub", f"{{{USER}}}"),
        ("sub", USER.urn),
        ("sid", str(SESSION) + "\n"),
        ("sid", SESSION.hex),
        ("iat", float(START)),
        ("exp", START + 300.5),
        ("exp", START),
        ("iat", START + 3),
        ("iat", 10**30),
    ],
    ids=repr,
)
def test_a_claim_that_is_nearly_right_is_refused(forger: Forger, verifier: AccessTokenVerifier, claim: str, value: Any):
    refuses(verifier, forger.token(**{claim: value}))


def test_an_audience_among_others_and_a_claim_that_we_do_not_know_are_fine(forger: Forger, verifier: AccessTokenVerifier):
    assert verifier.verify(forger.token(aud=["https://other.example", AUDIENCE], scope="all")).user_id == USER


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_claims_that_only_python_takes_for_json_are_refused(forger: Forger, verifier: AccessTokenVerifier, constant: bytes):
    refuses(verifier, forger.sign(forger.header, json.dumps(GOOD_CLAIMS).encode()[:-1] + b',"x":' + constant + b"}"))


def test_a_claim_that_stands_twice_is_refused(forger: Forger, verifier: AccessTokenVerifier):
    twice = json.dumps(GOOD_CLAIMS)[:-1] + f',"sub":"{SESSION}"}}'
    refuses(verifier, forger.sign(forger.header, twice.encode()))


@pytest.mark.parametrize("member", ["alg", "kid", "typ"])
def test_every_member_of_the_header_is_required(forger: Forger, verifier: AccessTokenVerifier, member: str):
    refuses(verifier, forger.token_with_header(member))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("alg", "none"),
        ("alg", "Ed25519"),
        ("alg", "HS256"),
        ("alg", None),
        ("typ", "JWT"),
        ("typ", "at+JWT"),
        ("typ", "application/at+jwt"),
        ("typ", ["at+jwt"]),
        ("kid", ""),
        ("kid", "../../dev/null"),
        ("kid", "x' OR '1'='1"),
        ("kid", None),
        ("kid", 0),
        ("crit", ["exp"]),
        ("b64", False),
        ("zip", "DEF"),
        ("cty", "JWT"),
        ("jku", "https://evil.example/jwks.json"),
        ("x5u", "https://evil.example/cert.pem"),
        ("x5c", ["MIIB"]),
        ("jwk", {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        ("foo", "bar"),
    ],
    ids=repr,
)
def test_another_header_is_refused_though_the_signature_is_right(
    forger: Forger, verifier: AccessTokenVerifier, member: str, value: Any
):
    refuses(verifier, forger.token_with_header(**{member: value}))


def test_a_header_member_that_stands_twice_is_refused(forger: Forger, verifier: AccessTokenVerifier):
    twice = json.dumps(forger.header)[:-1] + ',"alg":"EdDSA"}'
    refuses(verifier, forger.sign(twice.encode(), dict(GOOD_CLAIMS)))


def test_the_public_key_is_no_secret_to_sign_with(ring: KeyRing, forger: Forger, verifier: AccessTokenVerifier):
    """The classic confusion: HS256 with what the JWKS tells everybody (RFC 8725 section 2.1)."""
    key = ring.signer()
    signed, _, _ = forger.token_with_header(alg="HS256").rpartition(".")
    for secret in (base64url.decode(key.x), key.x.encode(), ring.public_jwks()):
        refuses(verifier, f"{signed}.{base64url.encode(hmac.digest(secret, signed.encode(), 'sha256'))}")


def test_a_token_without_signature_is_refused(forger: Forger, verifier: AccessTokenVerifier):
    signed, _, _ = forger.token_with_header(alg="none").rpartition(".")
    for token in (f"{signed}.", signed, f"{signed}.AA"):
        refuses(verifier, token)


def test_a_stranger_who_writes_our_kid_is_refused(ring: KeyRing, forger: Forger, verifier: AccessTokenVerifier):
    signed, _, _ = forger.token().rpartition(".")
    forged = Ed25519PrivateKey.generate().sign(signed.encode())
    refuses(verifier, f"{signed}.{base64url.encode(forged)}")


def test_the_kid_of_another_of_our_keys_is_refused(key_file: Path, ring: KeyRing, verifier: AccessTokenVerifier):
    rotate(key_file, keep_s=332, now=START)
    forger = Forger(ring)
    assert ring.refresh_if_changed()
    other = next(kid for kid in ring.current.by_kid if kid != forger.header["kid"])
    assert verifier.verify(forger.token()).user_id == USER
    refuses(verifier, forger.token_with_header(kid=other))


def test_a_key_that_is_published_verifies_before_it_signs_and_no_longer_when_it_is_dropped(
    key_file: Path, clock: HandClock, tmp_path: Path
):
    here, there = KeyRing(key_file, now=clock), KeyRing(key_file, now=clock)
    old = make_issuer(here, clock).issue(USER, SESSION)
    rotate(key_file, lead_s=336, keep_s=332, now=clock())
    assert there.refresh_if_changed()
    clock.time += 336
    new = make_issuer(there, clock).issue(USER, SESSION)
    clock.time -= 100
    refuses(make_verifier(here, clock), new)  # it has not looked for longer than it may
    here.refresh_if_changed()
    clock.time += 100
    assert make_verifier(here, clock).verify(new).user_id == USER
    rotate(key_file, lead_s=0, keep_s=0, now=clock())
    here.refresh_if_changed()
    for token in (old, new):
        refuses(make_verifier(here, clock), token)


def test_a_token_of_another_installation_is_refused(tmp_path: Path, clock: HandClock, verifier: AccessTokenVerifier):
    path = tmp_path / "other.json"
    create_key_file(path, now=START)
    refuses(verifier, make_issuer(KeyRing(path, now=clock), clock).issue(USER, SESSION))


def test_a_token_cannot_be_written_in_another_way(forger: Forger, verifier: AccessTokenVerifier):
    token = forger.token()
    header, claims, signature = token.split(".")
    stray_bit = signature[:-1] + chr(ord(signature[-1]) + 1)
    other_alphabet = lenient_base64.b64encode(base64url.decode(signature)).decode()
    for changed in (
        f"{token} ",
        f" {token}",
        f"{token}\n",
        f"{token}\0",
        f"{token}==",
        f"{token}.",
        f"{token}.{signature}",
        f"{header}.{claims}",
        f"{header}..{signature}",
        f"{header}.{claims}.{stray_bit}",
        f"{header}.{claims}.{other_alphabet}",
        f"{header}=.{claims}.{signature}",
        token.replace(".", "\u3002"),
        token.replace("e", "é", 1),
        token + "A" * 10_000_000,
        json.dumps({"payload": claims, "protected": header, "signature": signature}),
    ):
        refuses(verifier, changed)


@pytest.mark.parametrize("claims", [b"", b"null", b"[]", b"7", b'"text"', b"{", b"\xff", b"\0", b"[" * 2000], ids=repr)
def test_claims_that_are_no_object_are_refused(forger: Forger, verifier: AccessTokenVerifier, claims: bytes):
    refuses(verifier, forger.sign(forger.header, claims))


TEXTS: Final = (
    st.text() | st.text(alphabet=".eyJ_-AQ\0 ", max_size=80) | st.binary().map(lambda octets: octets.decode("latin1"))
)
JSON_VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_whatever_the_text_it_is_an_invalid_token_and_nothing_else(verifier: AccessTokenVerifier, text: str):
    refuses(verifier, text)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 700), cut=st.integers(0, 5), put=st.text(alphabet="AQgw_-.= \0é", max_size=5))
def test_a_token_damaged_anywhere_is_refused(forger: Forger, verifier: AccessTokenVerifier, at: int, cut: int, put: str):
    token = forger.token()
    damaged = token[:at] + put + token[at + cut :]
    if damaged != token:
        refuses(verifier, damaged)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(claim=st.sampled_from(sorted(GOOD_CLAIMS)), value=JSON_VALUES)
def test_whatever_we_signed_verifies_or_is_an_invalid_token(
    forger: Forger, verifier: AccessTokenVerifier, claim: str, value: Any
):
    token = forger.token(**{claim: value})
    try:
        verified = verifier.verify(token)
    except InvalidAccessToken:
        return
    assert (verified.user_id, verified.session_id) == (USER, SESSION)


def refuses(verifier: AccessTokenVerifier, token: str) -> None:
    with pytest.raises(InvalidAccessToken) as refused:
        verifier.verify(token)
    assert refused.value.is_missing is False
    assert refused.value.__cause__ is None
