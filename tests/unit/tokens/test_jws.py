"""Our wrapper reads a compact JWS in one way only, and with the algorithm of the key."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.tokens import base64url, jws

# RFC 8037 appendices A.1 to A.4
RFC_8037_PRIVATE = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
RFC_8037_PUBLIC = {name: RFC_8037_PRIVATE[name] for name in ("kty", "crv", "x")}
RFC_8037_JWS = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
HEADER, PAYLOAD, SIGNATURE = RFC_8037_JWS.split(".")


def header(**members: Any) -> str:
    return base64url.encode(json.dumps(members).encode())


def with_header(encoded: str) -> str:
    return f"{encoded}.{PAYLOAD}.{SIGNATURE}"


def test_the_example_of_rfc_8037_verifies():
    key = jws.VerificationKey(dict(RFC_8037_PUBLIC), alg="EdDSA")
    assert jws.verify(jws.parse(RFC_8037_JWS), key, typ=None) == b"Example of Ed25519 signing"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        f"{HEADER}.{PAYLOAD}",
        f"{HEADER}.{PAYLOAD}.",
        f"{HEADER}..{SIGNATURE}",
        f".{PAYLOAD}.{SIGNATURE}",
        f"{RFC_8037_JWS}.",
        f"{RFC_8037_JWS}.AAAA",
        f" {RFC_8037_JWS}",
        f"{RFC_8037_JWS}\n",
        f"{RFC_8037_JWS}==",
        f"{RFC_8037_JWS}\0",
        RFC_8037_JWS[:-1] + "h",
        RFC_8037_JWS.replace("_", "/"),
        with_header(base64url.encode(b'{"alg":"EdDSA","alg":"EdDSA"}')),
        with_header(base64url.encode(b'{"alg":"none","alg":"EdDSA"}')),
        with_header(base64url.encode(b'\xef\xbb\xbf{"alg":"EdDSA"}')),
        with_header(base64url.encode('{"alg":"EdDSA"}'.encode("utf-16"))),
        with_header(base64url.encode(b'{"alg":"EdDSA","kid":NaN}')),
        with_header(base64url.encode(b'["alg"]')),
        with_header(base64url.encode(b"null")),
        with_header(base64url.encode(b"[" * 2900)),
        with_header(header(alg=["EdDSA"])),
        with_header(header(kid="k")),
        with_header(header(alg="EdDSA", kid=7)),
        with_header(header(alg="EdDSA", kid=None)),
        with_header(header(alg="EdDSA", typ=True)),
        with_header(header(alg="EdDSA", crit=["exp"])),
        with_header(header(alg="EdDSA", crit=["b64"], b64=False)),
        with_header(header(alg="EdDSA", b64=True)),
        with_header(header(alg="EdDSA", zip="DEF")),
        with_header(header(alg="EdDSA", jwk=RFC_8037_PUBLIC)),
        with_header(header(alg="EdDSA", jku="https://keys.example/")),
        with_header(header(alg="EdDSA", x5u="https://keys.example/")),
        with_header(header(alg="EdDSA", x5c=["AAAA"])),
        with_header(header(alg="EdDSA", x5t="AAAA")),
        with_header(header(alg="EdDSA", **{"x5t#S256": "AAAA"})),
        with_header(header(alg="EdDSA", cty="JWT")),
        with_header(header(alg="EdDSA", Kid="k")),
        "A" * 10_000_000,
        f"{HEADER}.{'A' * 5000}.{SIGNATURE}",
    ],
    ids=lambda token: token[:40],
)
def test_any_other_way_to_write_a_token_is_not_one(token: str):
    with pytest.raises(jws.InvalidJws):
        jws.parse(token)


@settings(deadline=None)
@given(st.one_of(st.text(), st.text(alphabet=".AQgw_-=eyJ\0é", max_size=60), st.binary().map(lambda b: b.decode("latin1"))))
def test_whatever_the_text_nothing_but_a_refusal_is_raised(token: str):
    try:
        jws.parse(token)
    except jws.InvalidJws:
        return


@pytest.mark.parametrize("token", [None, 7, b"a.b.c", ["a"], 7.5], ids=repr)
def test_what_is_no_text_at_all_is_refused_too(token: Any):
    with pytest.raises(jws.InvalidJws):
        jws.parse(token)


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "Ed25519", "eddsa", "ES256"])
def test_the_header_cannot_choose_the_algorithm(alg: str):
    key = jws.VerificationKey(dict(RFC_8037_PUBLIC), alg="EdDSA")
    with pytest.raises(jws.InvalidJws):
        jws.verify(jws.parse(with_header(header(alg=alg))), key, typ=None)


def test_the_algorithm_is_compared_before_any_library_sees_the_token():
    key = jws.VerificationKey(dict(RFC_8037_PUBLIC), alg="EdDSA")
    claimed = jws.UnverifiedJws(RFC_8037_JWS, alg="none", kid=None, typ=None)
    with pytest.raises(jws.InvalidJws):
        jws.verify(claimed, key, typ=None)


@pytest.mark.parametrize(("typ", "wanted"), [(None, "at+jwt"), ("JWT", "at+jwt"), ("AT+JWT", "at+jwt"), ("at+jwt", None)])
def test_the_type_must_be_the_one_asked_for_to_the_letter(typ: str | None, wanted: str | None):
    """Even where the signature is right: RFC 8725 section 3.11."""
    private = jws.VerificationKey(dict(RFC_8037_PUBLIC), alg="EdDSA")
    claimed = jws.UnverifiedJws(RFC_8037_JWS, "EdDSA", None, typ)
    with pytest.raises(jws.InvalidJws):
        jws.verify(claimed, private, typ=wanted)


def test_a_signature_by_another_key_is_refused():
    other = dict(RFC_8037_PUBLIC, x="3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08")
    with pytest.raises(jws.InvalidJws):
        jws.verify(jws.parse(RFC_8037_JWS), jws.VerificationKey(other, alg="EdDSA"), typ=None)


@pytest.mark.parametrize(
    ("changes", "alg"),
    [
        ({"use": "enc"}, "EdDSA"),
        ({"key_ops": ["sign"]}, "EdDSA"),
        ({"alg": "ES256"}, "EdDSA"),
        ({}, "ES256"),
        ({}, "none"),
        ({}, "HS256"),
        ({}, "unheard-of"),
        ({"x": "AAAA"}, "EdDSA"),
        ({"kty": "unheard-of"}, "EdDSA"),
    ],
    ids=repr,
)
def test_a_key_that_is_not_for_this_is_refused_when_it_is_loaded(changes: dict[str, Any], alg: str):
    with pytest.raises(ValueError, match="the JWK is not one that verifies with this algorithm"):
        jws.VerificationKey(RFC_8037_PUBLIC | changes, alg=alg)


def test_a_token_shows_itself_in_no_repr():
    assert SIGNATURE not in repr(jws.parse(RFC_8037_JWS))
