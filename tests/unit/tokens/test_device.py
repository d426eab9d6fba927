"""A device token says nothing that was not signed, nothing after its time, and nothing under another key or purpose."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from tests.unit.tokens.conftest import START, HandClock
from tidegate.tokens import base64url
from tidegate.tokens.device import DeviceTokenCodec
from tidegate.tokens.macs import PurposeMac
from tidegate.tokens.refresh import RefreshTokenCodec

KEY = bytes(range(32))
ADA = UUID("00000000-0000-4000-8000-000000000001")
TTL_S = 1_000


def codec(clock: Callable[[], float], *, key: bytes = KEY) -> DeviceTokenCodec:
    return DeviceTokenCodec(mac_key=key, ttl_s=TTL_S, now=clock, new_id=uuid4)


def made(clock: HandClock) -> str:
    token = codec(clock).renewed(ADA, None)
    assert token is not None
    return token


def test_no_bit_of_it_can_be_changed(clock: HandClock) -> None:
    octets = bytearray(base64url.decode(made(clock)))
    for index in range(len(octets)):
        octets[index] ^= 1
        assert codec(clock).read(base64url.encode(bytes(octets))) is None
        octets[index] ^= 1
    assert codec(clock).read(base64url.encode(bytes(octets))) is not None


def test_another_key_reads_nothing(clock: HandClock) -> None:
    assert codec(clock, key=KEY[::-1]).read(made(clock)) is None


def test_a_code_for_another_purpose_is_worth_nothing(clock: HandClock) -> None:
    """The same secret signs refresh tokens; whoever holds one must not have a device token with it."""
    body = base64url.decode(made(clock))[:37]
    for purpose in (b"tidegate refresh token v1", b"tidegate names under throttle v1"):
        forged = base64url.encode(body + PurposeMac(KEY, purpose=purpose)(body))
        assert codec(clock).read(forged) is None
    assert codec(clock).read(RefreshTokenCodec(mac_key=KEY).make(ADA, 0)) is None


def test_it_expires(clock: HandClock) -> None:
    token = made(clock)
    clock.time = START + TTL_S - 1
    assert codec(clock).read(token) is not None
    clock.time = START + TTL_S
    assert codec(clock).read(token) is None


def test_in_its_second_half_it_is_renewed_and_the_device_stays_the_same(clock: HandClock) -> None:
    """Else who logs in every day would be a stranger once in half a year."""
    known = codec(clock).read(made(clock))
    clock.time = START + TTL_S // 2 - 1
    assert codec(clock).renewed(ADA, known) is None
    clock.time = START + TTL_S // 2
    token = codec(clock).renewed(ADA, known)
    assert token is not None
    renewed = codec(clock).read(token)
    assert known is not None
    assert renewed is not None
    assert (renewed.user_id, renewed.device_id) == (ADA, known.device_id)
    assert renewed.expires_at == clock.time + TTL_S


def test_a_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 octets"):
        codec(lambda: 0.0, key=b"x" * 31)
