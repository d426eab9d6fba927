"""The header Idempotency-Key: which keys there are, and what is none."""

import re

import pytest

from tidegate.api.http import Request
from tidegate.api.idempotency import PATTERN, idempotency_key
from tidegate.domain.errors import InvalidRequest

UUID = "8e03978e-40d5-43e8-bc93-6894a57f9324"


def a_request(*values: bytes) -> Request:
    return Request("POST", "/register", b"", {b"idempotency-key": list(values)} if values else {}, None, "id")


def test_most_requests_have_none() -> None:
    assert idempotency_key(a_request()) is None


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (f'"{UUID}"', UUID),
        (UUID, UUID),
        (f" \t{UUID} ", UUID),
        ('"with a blank; and, more"', "with a blank; and, more"),
        (r'"a \"quoted\" back\\slash"', r'a "quoted" back\slash'),
        ("ORDER:2026/11/23#0001", "ORDER:2026/11/23#0001"),
        ("x" * 16, "x" * 16),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
        ('"' + '\\"' * 16 + '"', '"' * 16),
    ],
)
def test_a_key_is_a_quoted_string_or_the_bare_characters(value: str, key: str) -> None:
    assert idempotency_key(a_request(value.encode())) == key
    assert re.search(PATTERN, value.strip())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "too_short"),
        (b'""', "too_short"),
        (b"123456789012345", "too_short"),
        (b'"123456789012345"', "too_short"),
        (b'"' + b'\\"' * 15 + b'"', "too_short"),
        (b"x" * 256, "too_long"),
        (b'"' + b"x" * 256 + b'"', "too_long"),
        (b'"' + UUID.encode(), "malformed"),
        (UUID.encode() + b'"', "malformed"),
        (b'"' + UUID.encode() + b'";version=1', "malformed"),
        (UUID.encode() + b", " + UUID.encode(), "malformed"),
        (UUID.encode() + b" " + UUID.encode(), "malformed"),
        (b'"not \\escaped by anybody"', "malformed"),
        ("schlüssel-schlüssel".encode(), "malformed"),
        (b'"0123456789abcdef\x7f"', "malformed"),
        (b"0123456789abcdef\n", "malformed"),
    ],
)
def test_what_is_no_key_is_told(value: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        idempotency_key(a_request(value))
    assert [str(fault) for fault in refused.value.faults] == [f"idempotency-key={reason}"]
    assert not re.fullmatch(PATTERN.removesuffix("$"), value.decode())


def test_two_headers_are_no_key_even_if_they_agree() -> None:
    with pytest.raises(InvalidRequest) as refused:
        idempotency_key(a_request(UUID.encode(), UUID.encode()))
    assert [str(fault) for fault in refused.value.faults] == ["idempotency-key=given_twice"]
