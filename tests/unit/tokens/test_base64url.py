"""Base64url has one text for each sequence of octets, and we read no other."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.tokens import base64url


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_what_is_encoded_is_decoded(octets: bytes):
    assert base64url.decode(base64url.encode(octets)) == octets


@settings(deadline=None)
@given(st.text(alphabet="AQgwz09-_+/= \n.é\0", max_size=8))
def test_what_is_decoded_is_the_only_text_for_its_octets(text: str):
    try:
        octets = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(octets) == text


@pytest.mark.parametrize(
    "text",
    ["AA==", "AB", "A", "AAA=", "AA A", " AAA", "AAA\n", "+AAA", "/AAA", "AAA.", "ÅAAA", "A\0AA"],
    ids=repr,
)
def test_padding_stray_bits_white_space_and_other_letters_are_refused(text: str):
    with pytest.raises(ValueError, match=r"."):
        base64url.decode(text)
