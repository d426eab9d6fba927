"""Every vector of Project Wycheproof through our own verifier, with the key of its group and the algorithm of that key."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tidegate.tokens import jws

VECTORS: Final = Path(__file__).parents[2] / "data/wycheproof/json_web_signature_test.json"

ALGORITHM_OF_GROUPS_WITHOUT_ONE: Final = {"rsa_encryption": "RS256", "ec_key_for_encryption": "ES256"}

REFUSED_BY_THE_KEY_LOADER: Final = {
    347: "the key says ES521, which no RFC defines (the token says ES512)",
    351: "as 347",
    353: "the key is for encryption (use)",
    354: "as 353",
    355: "the key is for encryption (key_ops)",
    356: "as 355",
}
"""No signature is looked at, because `VerificationKey` cannot even be made."""

VALID_BUT_REFUSED: Final = {
    259: "empty payload: an access token always says something",
    264: "as 259",
    268: "as 259",
    272: "as 259",
    320: "as 259",
    325: "as 259",
    346: "the token says PS384, its key PS256: the key decides",
    350: "as 346",
    347: "see REFUSED_BY_THE_KEY_LOADER",
    351: "see REFUSED_BY_THE_KEY_LOADER",
    372: "a question mark in the header's base64url, which RFC 7515 section 2 does not have; mislabelled, see 367",
    373: "a question mark in the payload's base64url; mislabelled, see 370",
}
"""What our strictness refuses on purpose."""

INVALID_BUT_IDENTICAL_TO_VALID: Final = {
    367: 357,
    370: 357,
}
"""The padding that these two are named after is not in the file: they are character by character the token of 357, which is
valid, under the same key. Nothing can accept the one and refuse the other."""


def vectors() -> list[Any]:
    groups = json.loads(VECTORS.read_text())["testGroups"]
    return [
        pytest.param(group, vector, id=f"{vector['tcId']}-{vector['comment']}")
        for group in groups
        for vector in group["tests"]
    ]


def key_of(group: dict[str, Any]) -> jws.VerificationKey:
    jwk = group["public"] if "public" in group else group["private"]
    return jws.VerificationKey(jwk, alg=jwk.get("alg") or ALGORITHM_OF_GROUPS_WITHOUT_ONE[group["comment"]])


def is_accepted(token: str, key: jws.VerificationKey) -> bool:
    try:
        jws.verify(jws.parse(token), key, typ=None)
    except jws.InvalidJws:
        return False
    return True


def test_all_401_vectors_are_there():
    assert len(vectors()) == 401


@pytest.mark.parametrize(("group", "vector"), vectors())
def test_a_vector_is_answered_as_it_is_labelled(group: dict[str, Any], vector: dict[str, Any]):
    number, token = vector["tcId"], vector["jws"]
    if number in REFUSED_BY_THE_KEY_LOADER:
        with pytest.raises(ValueError, match="the JWK is not one"):
            key_of(group)
        return
    if number in INVALID_BUT_IDENTICAL_TO_VALID:
        same = next(other for other in group["tests"] if other["tcId"] == INVALID_BUT_IDENTICAL_TO_VALID[number])
        assert (same["jws"], same["result"]) == (token, "valid")
        return
    expected = vector["result"] == "valid" and number not in VALID_BUT_REFUSED
    assert is_accepted(token, key_of(group)) == expected
