"""A rotation refuses no token, whatever processes and caches still hold an older view of the keys."""

import itertools
import json
from bisect import bisect_right
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.tokens.conftest import START
from tests.unit.tokens.test_jws import RFC_8037_PRIVATE, RFC_8037_PUBLIC
from tidegate.tokens import base64url
from tidegate.tokens.keyset import CLOCK_MARGIN_S, KeySet, KeyState, SigningKey, keep_s_min, lead_s_min

SEEDS: Final = [bytes([number]) * 32 for number in range(8)]


def rotations(*, gap_s: int, lead_s: int, keep_s: int, count: int) -> list[tuple[float, KeySet]]:
    """From which moment on the file held which keys."""
    history = [(float(START), KeySet.first(SEEDS[0], now=START))]
    for seed in SEEDS[1 : count + 1]:
        moment, keys = history[-1]
        moment += gap_s
        history.append((moment, keys.rotated(seed, lead_s=lead_s, keep_s=keep_s, now=moment)))
    return history


def test_the_kid_is_the_thumbprint_of_rfc_8037():
    key = SigningKey(seed=base64url.decode(RFC_8037_PRIVATE["d"]), published_at=START, sign_from=START)
    assert key.x == RFC_8037_PUBLIC["x"]
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=1_000))
def test_what_libsodium_signs_is_what_openssl_signs(seed: bytes, message: bytes):
    """Ed25519 is deterministic (RFC 8032 section 5.1.6): there is one right signature."""
    key = SigningKey(seed=seed, published_at=START, sign_from=START)
    other = Ed25519PrivateKey.from_private_bytes(seed)
    assert key.sign(message) == other.sign(message)
    assert base64url.decode(key.x) == other.public_key().public_bytes_raw()


def test_the_first_key_signs_at_once():
    keys = KeySet.first(SEEDS[0], now=START)
    assert keys.signer(START) is keys.keys[0]
    assert keys.waiting(START) is None


def test_a_node_whose_clock_is_late_signs_with_the_first_key():
    keys = KeySet.first(SEEDS[0], now=START)
    assert keys.signer(START - 3600) is keys.keys[0]


def test_a_new_key_is_published_at_once_and_signs_when_its_lead_is_over():
    old = KeySet.first(SEEDS[0], now=START)
    keys = old.rotated(SEEDS[1], lead_s=336, keep_s=332, now=START + 10)
    new = keys.keys[1]
    assert new.kid in keys.by_kid
    assert new.kid.encode() in keys.public_jwks
    assert keys.waiting(START + 10) is new
    assert keys.signer(START + 345) is keys.keys[0]
    assert keys.signer(START + 346) is new
    assert keys.waiting(START + 346) is None


def test_a_rotation_under_way_is_not_overtaken_by_another():
    keys = KeySet.first(SEEDS[0], now=START).rotated(SEEDS[1], lead_s=336, keep_s=332, now=START)
    with pytest.raises(ValueError, match="a key waits to sign"):
        keys.rotated(SEEDS[2], lead_s=0, keep_s=332, now=START + 335)
    assert len(keys.rotated(SEEDS[2], lead_s=336, keep_s=332, now=START + 336).keys) == 3


def test_a_key_is_dropped_by_the_first_rotation_after_its_tokens_are_gone():
    keys = KeySet.first(SEEDS[0], now=START).rotated(SEEDS[1], lead_s=100, keep_s=300, now=START)
    first, second = keys.keys
    assert first in keys.rotated(SEEDS[2], lead_s=100, keep_s=300, now=START + 399).keys
    later = keys.rotated(SEEDS[2], lead_s=100, keep_s=300, now=START + 400).keys
    assert first not in later
    assert second in later


def test_without_lead_and_keep_a_key_is_replaced_at_once():
    keys = KeySet.first(SEEDS[0], now=START).rotated(SEEDS[1], lead_s=0, keep_s=0, now=START + 1)
    assert [key.seed for key in keys.keys] == [SEEDS[1]]
    assert keys.signer(START + 1).seed == SEEDS[1]


def test_the_list_tells_what_each_key_does_and_until_when():
    history = rotations(gap_s=400, lead_s=100, keep_s=1000, count=3)
    listed = history[-1][1].listed(START + 1200)
    assert [(row.state, row.since - START, row.until and row.until - START) for row in listed] == [
        (KeyState.WAITING, 1200, 1300),
        (KeyState.SIGNING, 900, 1300),
        (KeyState.RETIRING, 900, None),
        (KeyState.RETIRING, 500, None),
    ]
    assert [row.kid for row in listed] == [key.kid for key in reversed(history[-1][1].keys)]


def test_the_jwks_holds_public_keys_only():
    keys = KeySet.first(SEEDS[0], now=START).rotated(SEEDS[1], lead_s=100, keep_s=100, now=START)
    published = json.loads(keys.public_jwks)["keys"]
    assert [set(jwk) for jwk in published] == [{"kty", "crv", "x", "kid", "alg", "use"}] * 2
    assert {(jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) for jwk in published} == {("OKP", "Ed25519", "EdDSA", "sig")}
    assert {jwk["kid"] for jwk in published} == set(keys.by_kid)
    for seed in SEEDS[:2]:
        assert base64url.encode(seed).encode() not in keys.public_jwks


def test_no_key_shows_its_seed_in_a_repr():
    keys = KeySet.first(b"\xa5" * 32, now=START)
    assert "a5" not in repr(keys)
    assert repr(b"\xa5") not in repr(keys)


@pytest.mark.parametrize(
    "keys",
    [
        (),
        (SigningKey(seed=SEEDS[0], published_at=1, sign_from=1), SigningKey(seed=SEEDS[0], published_at=1, sign_from=2)),
        (SigningKey(seed=SEEDS[0], published_at=1, sign_from=2), SigningKey(seed=SEEDS[1], published_at=1, sign_from=1)),
    ],
    ids=["none", "twice", "out of order"],
)
def test_a_set_without_a_key_or_with_one_twice_or_out_of_order_is_refused(keys: tuple[SigningKey, ...]):
    with pytest.raises(ValueError, match="key"):
        KeySet(keys)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_no_token_is_refused_for_its_key_through_rotations(data: st.DataObject):
    """Publish before sign, drop after expiry: whoever signs and whoever verifies, and every cache of the JWKS between.

    Any process may have read the file up to a reload interval ago; a cache may have asked such a process and kept the
    answer for as long as it may; the clocks of any two nodes differ by up to the margin.
    """
    reload_s = data.draw(st.integers(1, 30), "reload_s")
    cached_s = data.draw(st.sampled_from([0, 60, 300, 3600]), "cached_s")
    ttl_s, leeway_s = data.draw(st.integers(1, 900), "ttl_s"), data.draw(st.integers(0, 5), "leeway_s")
    lead_s = lead_s_min(jwks_cached_s_max=cached_s, reload_interval_s=reload_s)
    keep_s = keep_s_min(access_token_ttl_s_max=ttl_s, leeway_s=leeway_s)
    gap_s = lead_s + data.draw(st.sampled_from([0, keep_s]) | st.integers(0, 2 * keep_s), "gap_s")
    history = rotations(gap_s=gap_s, lead_s=lead_s, keep_s=keep_s, count=4)

    off_s = st.sampled_from([0.0, CLOCK_MARGIN_S / 2, -CLOCK_MARGIN_S / 2])  # against the clock of who rotates
    signs_s, verifies_s = data.draw(off_s, "signer's clock"), data.draw(off_s, "verifier's clock")
    turns = sorted({key.sign_from for _, keys in history for key in keys.keys})
    beside_s = st.sampled_from([0.0, -0.001, 1.0]) | st.floats(-gap_s, gap_s)
    signed_at = data.draw(st.sampled_from(turns), "turn") + data.draw(beside_s, "beside it") - signs_s
    assume(signed_at - reload_s >= START)
    expires_at = int(signed_at + signs_s) + ttl_s - verifies_s  # when the verifier's clock shows `exp`
    verified_at = data.draw(st.sampled_from([signed_at, expires_at - 0.001]), "verified at")
    assume(signed_at <= verified_at)

    age_s = st.sampled_from([0.0, float(reload_s)])
    kid = view(history, signed_at - data.draw(age_s, "signer's age")).signer(signed_at + signs_s).kid
    seen_at = verified_at - data.draw(age_s, "verifier's age")
    assert kid in view(history, seen_at).by_kid
    assert kid in view(history, seen_at - cached_s).by_kid


def view(history: list[tuple[float, KeySet]], moment: float) -> KeySet:
    """What the file held at *moment*."""
    return history[max(0, bisect_right([since for since, _ in history], moment) - 1)][1]


def test_rotating_as_often_as_possible_keeps_three_keys_at_most():
    history = rotations(gap_s=336, lead_s=336, keep_s=332, count=7)
    assert max(len(keys.keys) for _, keys in history) == 3
    assert all(later.keys[-1] not in keys.keys for (_, keys), (_, later) in itertools.pairwise(history))
