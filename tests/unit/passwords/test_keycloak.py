"""Keycloak's JSON becomes one line that verifies, or is refused with a text that tells nothing."""

import base64
import json

import pytest
from argon2.low_level import Type, hash_secret_raw
from hypothesis import given
from hypothesis import strategies as st

from tidegate.passwords.keycloak import from_keycloak
from tidegate.passwords.notations import STORED_LENGTH_MAX, parse

# Made by OpenJDK as Keycloak does: see tests/data/passwords/README.md.
PBKDF2 = [
    (
        '{"hashIterations":210000,"algorithm":"pbkdf2-sha512","additionalParameters":{}}',
        (
            '{"value":"NFGUDQeKRqTCgxipfyii4iOs/vfi7fdKuhwfh76Q/lRAq0Lcz8Ok5Byh+UjkUfTO55EDPIBF/buh9D39UGDb9g==",'
            '"salt":"ABEiM0RVZneImaq7zN3u/w==","additionalParameters":{}}'
        ),
    ),
    (
        '{"hashIterations":27500,"algorithm":"pbkdf2-sha256"}',
        (
            '{"value":"XZfHndyJyAtfApXIzURbkNjRkn9qdingPSvohf4E5WtP6e1ejriJzYRZcY2LsChnd33zxc/w28xkLvYMeOHe3Q==",'
            '"salt":"ABEiM0RVZneImaq7zN3u/w=="}'
        ),
    ),
    (
        '{"algorithm":"pbkdf2","hashIterations":20000,"additionalParameters":null}',
        (
            '{"salt":"ABEiM0RVZneImaq7zN3u/w==",'
            '"value":"s6yPPy7lm9aFdfh/VhPA7VYL/RRMjczlLBKutn37OD4Xxw6NMTEVnxVcFQYZoVgmo2XjdmP6hiy3sS16CWcfHg=="}'
        ),
    ),
]


@pytest.mark.parametrize(("credential_data", "secret_data"), PBKDF2, ids=["sha512", "sha256", "sha1"])
def test_a_pbkdf2_credential_becomes_a_line_that_verifies(credential_data: str, secret_data: str) -> None:
    line = from_keycloak(credential_data, secret_data)
    assert line.startswith("keycloak$pbkdf2")
    assert len(line) <= STORED_LENGTH_MAX
    stored = parse(line)
    assert stored is not None
    assert stored.verify("lètmein".encode())
    assert not stored.verify(b"letmein")


def argon2_credential(**changed: object) -> tuple[str, str]:
    """As Keycloak 24 and later store it by default, of a hash of `lètmein`."""
    digest = hash_secret_raw("lètmein".encode(), bytes(16), 5, 7168, 1, 32, Type.ID)
    parameters = {"hashLength": ["32"], "memory": ["7168"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}
    credential = {"hashIterations": 5, "algorithm": "argon2", "additionalParameters": parameters | changed}
    secret = {"value": base64.b64encode(digest).decode(), "salt": base64.b64encode(bytes(16)).decode()}
    return json.dumps(credential), json.dumps(secret)


def test_an_argon2_credential_becomes_the_phc_string_it_amounts_to() -> None:
    line = from_keycloak(*argon2_credential())
    assert line.startswith("$argon2id$v=19$m=7168,t=5,p=1$AAAAAAAAAAAAAAAAAAAAAA$")
    stored = parse(line)
    assert stored is not None
    assert stored.verify("lètmein".encode())
    assert not stored.verify(b"letmein")


@pytest.mark.parametrize(
    ("changed", "begins"),
    [({"version": ["1.0"]}, "$argon2id$v=16$"), ({"type": ["i"]}, "$argon2i$v=19$"), ({"type": ["d"]}, "$argon2d$v=19$")],
)
def test_its_version_and_type_are_kept(changed: dict[str, object], begins: str) -> None:
    assert from_keycloak(*argon2_credential(**changed)).startswith(begins)


SECRET = '{"value":"c2VjcmV0IGRpZ2VzdCBvZiBzb21lYm9keQ==","salt":"c2VjcmV0IHNhbHQ="}'


@pytest.mark.parametrize(
    ("credential_data", "secret_data"),
    [
        ("", SECRET),
        ("[]", SECRET),
        ("{}", SECRET),
        ('{"hashIterations":"5","algorithm":"pbkdf2"}', SECRET),
        ('{"hashIterations":1.5,"algorithm":"pbkdf2"}', SECRET),
        ('{"hashIterations":-5,"algorithm":"pbkdf2"}', SECRET),
        ('{"hashIterations":2000001,"algorithm":"pbkdf2"}', SECRET),
        ('{"hashIterations":5,"algorithm":"md5"}', SECRET),
        ('{"hashIterations":5,"algorithm":"argon2"}', SECRET),
        (argon2_credential(type=["x"])[0], SECRET),
        (argon2_credential(version=["2"])[0], SECRET),
        (argon2_credential(memory=[])[0], SECRET),
        (argon2_credential(memory=["1,t=1"])[0], SECRET),
        (argon2_credential(memory=["9999999"])[0], SECRET),
        (argon2_credential()[0], '{"value":"\u00e4","salt":"c2VjcmV0IHNhbHQ="}'),
        ('{"hashIterations":5,"algorithm":"pbkdf2"}', '{"value":"c2VjcmV0"}'),
        ('{"hashIterations":5,"algorithm":"pbkdf2"}', '{"value":"c2VjcmV0","salt":null}'),
        ('{"hashIterations":5,"algorithm":"pbkdf2"}', SECRET.replace("=", "")),
        ('{"hashIterations":5,"algorithm":"pbkdf2"}', '{"value":"a$b","salt":"c2VjcmV0IHNhbHQ="}'),
        ('{"hashIterations":5,"algorithm":"pbkdf2"}', json.dumps({"value": "A" * 600, "salt": "c2VjcmV0IHNhbHQ="})),
        ('{"hashIterations":5,"algorithm":"pbkdf2","x":' + "[" * 100_000, SECRET),
        ("\ud800", SECRET),
    ],
)
def test_what_we_would_not_verify_is_refused_without_telling_it(credential_data: str, secret_data: str) -> None:
    with pytest.raises(ValueError, match="password credential of Keycloak's") as caught:
        from_keycloak(credential_data, secret_data)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "c2VjcmV0" not in str(caught.value)


@given(st.text(alphabet=st.characters(exclude_categories=())), st.text(alphabet=st.characters(exclude_categories=())))
def test_no_text_at_all_makes_it_raise_anything_else(credential_data: str, secret_data: str) -> None:
    with pytest.raises(ValueError, match="password credential of Keycloak's"):
        from_keycloak(credential_data, secret_data)
