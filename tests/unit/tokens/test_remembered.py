"""A token that was right once is right again without its signature, as long as nothing has changed that made it so."""

from pathlib import Path
from uuid import UUID

import pytest

from tests.unit.tokens.conftest import START, HandClock, make_issuer, make_verifier
from tidegate.domain.claims import AccessClaims
from tidegate.domain.errors import InvalidAccessToken
from tidegate.tokens.issuer import AccessTokenIssuer
from tidegate.tokens.keys import KeyRing, rotate
from tidegate.tokens.remembered import RememberingVerifier
from tidegate.tokens.verifier import AccessTokenVerifier

USER, SESSION = UUID(int=1), UUID(int=2)


class CountingVerifier:
    """Counts the signatures that are checked."""

    def __init__(self, verifier: AccessTokenVerifier) -> None:
        self.verifier = verifier
        self.asked = 0

    def verify(self, token: str) -> AccessClaims:
        self.asked += 1
        return self.verifier.verify(token)


@pytest.fixture
def counting(ring: KeyRing, clock: HandClock) -> CountingVerifier:
    return CountingVerifier(make_verifier(ring, clock))


def remembering(counting: CountingVerifier, ring: KeyRing, clock: HandClock, at_most: int = 3) -> RememberingVerifier:
    return RememberingVerifier(counting, keys=ring, now=clock, remembered_max=at_most)  # type: ignore[arg-type] # a spy


def test_a_signature_is_checked_once(counting, ring, clock, issuer):
    verifier = remembering(counting, ring, clock)
    token = issuer.issue(USER, SESSION)
    assert [verifier.verify(token) for _ in range(3)] == [counting.verifier.verify(token)] * 3
    assert counting.asked == 1


def test_a_remembered_token_expires_on_time(counting, ring, clock, issuer: AccessTokenIssuer):
    verifier = remembering(counting, ring, clock)
    token = issuer.issue(USER, SESSION)
    expires_at = verifier.verify(token).expires_at
    clock.time = expires_at - 0.001
    verifier.verify(token)
    clock.time = expires_at
    for _ in range(2):
        with pytest.raises(InvalidAccessToken):
            verifier.verify(token)


def test_what_is_wrong_is_never_remembered(counting, ring, clock, issuer):
    verifier = remembering(counting, ring, clock)
    token = issuer.issue(USER, SESSION)
    verifier.verify(token)
    for number in range(10):
        with pytest.raises(InvalidAccessToken):
            verifier.verify(f"{token}{number}")
    verifier.verify(token)
    assert counting.asked == 11


def test_the_least_lately_used_token_goes_first(counting, ring, clock, issuer):
    verifier = remembering(counting, ring, clock, at_most=2)
    first, second, third = (issuer.issue(USER, SESSION) for _ in range(3))
    for token in (first, second, first, third, first):
        verifier.verify(token)
    assert counting.asked == 3
    verifier.verify(second)
    assert counting.asked == 4


def test_a_token_whose_key_was_dropped_is_forgotten(counting, ring, clock, key_file: Path):
    verifier = remembering(counting, ring, clock)
    token = make_issuer(ring, clock).issue(USER, SESSION)
    verifier.verify(token)
    rotate(key_file, lead_s=0, keep_s=0, now=START + 1)
    assert ring.refresh_if_changed()
    with pytest.raises(InvalidAccessToken):
        verifier.verify(token)


def test_a_remembered_token_of_the_future_is_refused_when_the_time_is_set_back(counting, ring, clock, issuer):
    """Else whoever remembers it lets it in for as much longer as the time was set back, and the others do not."""
    verifier = remembering(counting, ring, clock)
    token = issuer.issue(USER, SESSION)
    verifier.verify(token)
    clock.time -= 2
    for _ in range(2):
        verifier.verify(token)  # the verifier's leeway is 2 s
    clock.time -= 0.001
    for _ in range(2):
        with pytest.raises(InvalidAccessToken):
            verifier.verify(token)
