"""What a resource server relies on: the claims of an access token, the served keys, the metadata and /introspect."""

import base64
import time
from typing import Any

import jwt
import pytest
from joserfc import jws
from joserfc import jwt as joserfc_jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import KeySet

from tests.acceptance.conftest import INTROSPECTION
from tests.support.client import Client, Person, basic
from tests.support.contract import CLIENT_REFUSED, INVALID_REQUEST, SUCCESS, UNSUPPORTED, Row, Says, body, table
from tests.support.nodes import Node, running_node

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
JWKS_CACHING = "public, max-age=240, stale-while-revalidate=60"
EDGE_CACHING = "public, max-age=300, stale-while-revalidate=86400"
TTL_S = 300
TTL_S_MIN = 270
"""Of the default 5 minutes a tenth is left off at random."""


CREDENTIALS = {"Authorization": basic(*INTROSPECTION)}


def served_keys(client: Client) -> Any:
    return client.get("/.well-known/jwks.json").json


def test_joserfc_verifies_an_access_token_with_the_served_keys(client: Client, person: Person) -> None:
    keys = KeySet.import_key_set(served_keys(client))
    with pytest.warns(SecurityWarning, match="RFC 9864"):  # whose new name for EdDSA few verifiers know yet
        verified = joserfc_jwt.decode(person.access_token, keys, algorithms=["EdDSA"])
    assert verified.header["typ"] == "at+jwt"
    assert verified.claims["sub"] == person.user_id


def test_pyjwt_verifies_an_access_token_with_the_served_keys(shared_node: Node, client: Client, person: Person) -> None:
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(served_keys(client)).keys}
    required = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid"]
    claims = jwt.decode(
        person.access_token,
        keys[jwt.get_unverified_header(person.access_token)["kid"]],
        algorithms=["EdDSA"],
        audience="tidegate",
        issuer=f"http://127.0.0.1:{shared_node.port}",
        options={"require": required},
    )
    assert set(claims) == set(required)


def test_a_token_of_a_changed_claim_is_not_verified_by_the_served_keys(client: Client, person: Person) -> None:
    header, payload, signature = person.access_token.split(".")
    forged = f"{header}.{payload[:-2]}{'AA' if payload[-2:] != 'AA' else 'BB'}.{signature}"
    key = jwt.PyJWKSet.from_dict(served_keys(client)).keys[0]
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(forged, key, algorithms=["EdDSA"], audience="tidegate")


def test_the_header_of_an_access_token_is_that_of_rfc_9068(client: Client, person: Person) -> None:
    header = jws.extract_compact(person.access_token.encode()).headers()
    assert header == {"alg": "EdDSA", "kid": header["kid"], "typ": "at+jwt"}
    assert header["kid"] in {key["kid"] for key in served_keys(client)["keys"]}


def test_the_claims_of_an_access_token_are_those_of_rfc_9068(shared_node: Node, client: Client, person: Person) -> None:
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    now = time.time()
    assert {**claims, "exp": ..., "iat": ..., "jti": ...} == {
        "iss": f"http://127.0.0.1:{shared_node.port}",
        "sub": person.user_id,
        "aud": "tidegate",
        "client_id": "tidegate",
        "sid": person.session_id,
        "exp": ...,
        "iat": ...,
        "jti": ...,
    }
    assert TTL_S_MIN <= claims["exp"] - claims["iat"] <= TTL_S
    assert now - TTL_S < claims["iat"] <= now
    assert len(claims["jti"]) >= 20


def test_no_two_access_tokens_share_an_id(client: Client, person: Person) -> None:
    pairs = [client.form("/refresh", {"refresh_token": person.refresh_token}).json for _ in range(5)]
    ids = {jwt.decode(pair["access_token"], options={"verify_signature": False})["jti"] for pair in pairs}
    assert len(ids) == 5


KEYS = Says(
    status=200,
    body=body(r'<"keys":\[(<[^<>]*"kty":"OKP"[^<>]*>,?)+\]>'),
    cache=JWKS_CACHING,
)


def test_the_keys_are_public_and_say_what_they_are_for(client: Client) -> None:
    reply = client.get("/.well-known/jwks.json")
    KEYS.check(reply)
    for key in reply.json["keys"]:
        assert {**key, "kid": ..., "x": ...} == {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": ...,
            "x": ...,
        }, "and never d, the private part"
        assert len(base64.urlsafe_b64decode(key["x"] + "=")) == 32


def test_the_metadata_are_those_of_rfc_8414(shared_node: Node, client: Client) -> None:
    base = f"http://127.0.0.1:{shared_node.port}"
    reply = client.get("/.well-known/oauth-authorization-server")
    Says(status=200, body=reply.body, cache=EDGE_CACHING).check(reply)
    assert reply.json == {
        "issuer": base,
        "token_endpoint": f"{base}/refresh",
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "revocation_endpoint": f"{base}/revoke",
        "introspection_endpoint": f"{base}/introspect",
        "service_documentation": f"{base}/docs",
        "response_types_supported": [],
        "grant_types_supported": ["refresh_token"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
    }


def test_every_address_of_the_metadata_is_served(shared_node: Node, client: Client) -> None:
    told = client.get("/.well-known/oauth-authorization-server").json
    for name, address in told.items():
        if name.endswith(("_endpoint", "_uri", "_documentation")):
            path = address.removeprefix(told["issuer"])
            assert client.get(path).status == (405 if name.endswith("_endpoint") else 200), name


def test_the_issuer_is_the_one_that_was_set(database: str, tmp_path) -> None:
    with (
        running_node(database, tmp_path, ISSUER="https://login.example/tide", AUDIENCE="shop", CLIENT_ID="app") as node,
        node.client() as client,
    ):
        person = client.somebody()
        claims = jwt.decode(person.access_token, options={"verify_signature": False})
        assert (claims["iss"], claims["aud"], claims["client_id"]) == ("https://login.example/tide", "shop", "app")
        told = client.get("/.well-known/oauth-authorization-server").json
        assert (told["issuer"], told["jwks_uri"]) == (
            "https://login.example/tide",
            "https://login.example/tide/.well-known/jwks.json",
        )
        # No introspection client was set, so nobody may ask, not even with an empty name.
        for credentials in (basic(*INTROSPECTION), basic("", "")):
            refused = client.form("/introspect", {"token": person.access_token}, authorization=credentials)
            CLIENT_REFUSED.check(refused)


ACTIVE = Says(
    status=200,
    body=body(
        r'<"active":true,"token_type":"Bearer","iss":"http://127\.0\.0\.1:\d+","aud":"tidegate",'
        rf'"sub":"{UUID}","client_id":"tidegate","sid":"{UUID}","jti":"[\w-]+","exp":\d+,"iat":\d+>'
    ),
)
INACTIVE = Says(status=200, body=b'{"active":false}')


@table(
    Row(
        name="an access token is active",
        call="POST /introspect",
        form={"token": "$access_token"},
        headers=CREDENTIALS,
        gives=ACTIVE,
    ),
    Row(
        name="a hint of the type is allowed",
        call="POST /introspect",
        form={"token": "$access_token", "token_type_hint": "access_token"},
        headers=CREDENTIALS,
        gives=ACTIVE,
    ),
    Row(
        name="a refresh token is inactive: no resource server should have seen one",
        call="POST /introspect",
        form={"token": "$refresh_token"},
        headers=CREDENTIALS,
        gives=INACTIVE,
    ),
    Row(
        name="nonsense is inactive",
        call="POST /introspect",
        form={"token": "nonsense"},
        headers=CREDENTIALS,
        gives=INACTIVE,
    ),
    Row(
        name="a token with a letter more is inactive",
        call="POST /introspect",
        form={"token": "${access_token}A"},
        headers=CREDENTIALS,
        gives=INACTIVE,
    ),
    Row(
        name="no token is 400",
        call="POST /introspect",
        form={"token_type_hint": "access_token"},
        headers=CREDENTIALS,
        gives=INVALID_REQUEST,
        reason="token=missing",
    ),
    Row(
        name="JSON is 415",
        call="POST /introspect",
        json={"token": "$access_token"},
        headers=CREDENTIALS,
        gives=UNSUPPORTED,
    ),
    Row(
        name="without credentials it is 401",
        call="POST /introspect",
        form={"token": "$access_token"},
        gives=CLIENT_REFUSED,
    ),
    Row(
        name="another secret is 401",
        call="POST /introspect",
        form={"token": "$access_token"},
        headers={"Authorization": basic(INTROSPECTION[0], INTROSPECTION[1][:-1])},
        gives=CLIENT_REFUSED,
    ),
    Row(
        name="another client is 401",
        call="POST /introspect",
        form={"token": "$access_token"},
        headers={"Authorization": basic("somebody", INTROSPECTION[1])},
        gives=CLIENT_REFUSED,
    ),
    Row(
        name="credentials that are not base64 are 401",
        call="POST /introspect",
        form={"token": "$access_token"},
        headers={"Authorization": "Basic !!!"},
        gives=CLIENT_REFUSED,
    ),
    Row(
        name="the token itself is no credential",
        call="POST /introspect",
        form={"token": "$access_token"},
        bearer="$access_token",
        gives=CLIENT_REFUSED,
    ),
    Row(
        name="credentials in the body are not looked at",
        call="POST /introspect",
        form={"token": "$access_token", "client_id": INTROSPECTION[0], "client_secret": INTROSPECTION[1]},
        gives=CLIENT_REFUSED,
    ),
)
def test_an_introspection_is_answered_as_the_contract_says(row: Row, client: Client, person: Person) -> None:
    row.check(client, person)


def test_an_active_token_is_told_with_its_own_claims(client: Client, person: Person) -> None:
    reply = client.form("/introspect", {"token": person.access_token}, authorization=CREDENTIALS["Authorization"])
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    assert reply.json == {"active": True, "token_type": "Bearer", **claims}


@pytest.mark.parametrize("ending", ["/logout", "/revoke"])
def test_a_token_of_an_ended_session_is_inactive_at_once(ending: str, client: Client, person: Person) -> None:
    fields = {"token": person.refresh_token} if ending == "/revoke" else {}
    SUCCESS.check(client.form(ending, fields, token=person.access_token))
    reply = client.form("/introspect", {"token": person.access_token}, authorization=CREDENTIALS["Authorization"])
    INACTIVE.check(reply)
