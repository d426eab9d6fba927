"""A refresh token is one text for one session and generation, and no other text is taken for it."""

import hashlib
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.domain.claims import RefreshGrant
from tidegate.domain.errors import InvalidRefreshToken
from tidegate.tokens import base64url
from tidegate.tokens.refresh import RefreshTokenCodec

MAC_KEY = hashlib.sha256(b"a test's key").digest()
SESSION = UUID("01937a1e-2f6b-7c3d-9e4f-a0b1c2d3e4f5")
CODEC = RefreshTokenCodec(mac_key=MAC_KEY)
TOKEN = CODEC.make(SESSION, 7)


def signed(body: bytes) -> str:
    """A token as RFC 5869 and RFC 2104 say it, by a library of others."""
    mac = HMAC(HKDFExpand(SHA256(), 32, b"tidegate refresh token v1").derive(MAC_KEY), SHA256())
    mac.update(body)
    return base64url.encode(body + mac.finalize())


def test_a_token_is_version_session_generation_and_mac():
    assert signed(b"\x01" + SESSION.bytes + b"\0\0\0\x07") == TOKEN
    assert len(TOKEN) == 71


@settings(deadline=None)
@given(st.uuids(), st.integers(0, 2**32 - 1))
def test_what_is_made_is_read_and_made_the_same_again(session_id: UUID, generation: int):
    token = CODEC.make(session_id, generation)
    assert CODEC.read(token) == RefreshGrant(session_id, generation)
    assert RefreshTokenCodec(mac_key=MAC_KEY).make(session_id, generation) == token


@pytest.mark.parametrize("place", range(len(TOKEN)))
def test_a_token_changed_in_any_place_is_refused(place: int):
    for letter in "AQgw_":
        changed = TOKEN[:place] + letter + TOKEN[place + 1 :]
        if changed != TOKEN:
            with pytest.raises(InvalidRefreshToken):
                CODEC.read(changed)


@pytest.mark.parametrize(
    "token",
    [
        "",
        TOKEN[:-1],
        TOKEN + "A",
        TOKEN + "=",
        " " + TOKEN,
        TOKEN + "\n",
        TOKEN[:-1] + "\n",
        TOKEN.replace(TOKEN[20], "é"),
        "\0" * 71,
        "/" * 71,
        "A" * 71,
        "A" * 10_000_000,
        signed(b"\x02" + SESSION.bytes + b"\0\0\0\x07"),
        signed(b"\x01" + SESSION.bytes + b"\0\0\0"),
        RefreshTokenCodec(mac_key=hashlib.sha256(b"another key").digest()).make(SESSION, 7),
    ],
    ids=lambda token: repr(token[:24]),
)
def test_what_we_did_not_make_is_refused(token: str):
    with pytest.raises(InvalidRefreshToken) as refused:
        CODEC.read(token)
    assert refused.value.is_reuse is False


@settings(deadline=None)
@given(st.text() | st.text(alphabet="AQgw_-", min_size=71, max_size=71) | st.text(min_size=71, max_size=71))
def test_whatever_the_text_nothing_but_a_refusal_is_raised(token: str):
    with pytest.raises(InvalidRefreshToken):
        CODEC.read(token)


def test_a_mac_by_the_secret_itself_is_not_one_of_ours():
    """The same secret may serve other purposes: what it signs for those must never be a refresh token."""
    mac = HMAC(MAC_KEY, SHA256())
    body = b"\x01" + SESSION.bytes + b"\0\0\0\x07"
    mac.update(body)
    with pytest.raises(InvalidRefreshToken):
        CODEC.read(base64url.encode(body + mac.finalize()))


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="at least 32 octets") as refused:
        RefreshTokenCodec(mac_key=b"hunter2")
    assert "hunter2" not in str(refused.value)


def test_the_codec_shows_no_key_and_keeps_no_copy_of_it():
    assert MAC_KEY not in vars(CODEC).values()
    assert str(MAC_KEY) not in repr(CODEC) + repr(vars(CODEC))
    assert MAC_KEY.hex() not in repr(CODEC) + repr(vars(CODEC))
