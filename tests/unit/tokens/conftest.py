"""What tests of the tokens share: a clock in hand, a key file, and an issuer and a verifier that use both."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tidegate.tokens.issuer import AccessTokenIssuer
from tidegate.tokens.keys import KeyRing, create_key_file
from tidegate.tokens.verifier import AccessTokenVerifier

START = 1_800_000_000
ISSUER = "https://login.example"
AUDIENCE = "https://api.example"
CLIENT_ID = "first-party"


@dataclass
class HandClock:
    """Shows the time that the test sets."""

    time: float = START

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    create_key_file(path, now=START)
    return path


@pytest.fixture
def ring(key_file: Path, clock: HandClock) -> KeyRing:
    return KeyRing(key_file, now=clock, reload_interval_s=5)


@pytest.fixture
def issuer(ring: KeyRing, clock: HandClock) -> AccessTokenIssuer:
    return make_issuer(ring, clock)


@pytest.fixture
def verifier(ring: KeyRing, clock: HandClock) -> AccessTokenVerifier:
    return make_verifier(ring, clock)


def make_issuer(
    ring: KeyRing, clock: HandClock, *, ttl_s: int = 300, ttl_jitter_s: int = 0, random: float = 0.0
) -> AccessTokenIssuer:
    return AccessTokenIssuer(
        keys=ring,
        issuer=ISSUER,
        audience=AUDIENCE,
        client_id=CLIENT_ID,
        ttl_s=ttl_s,
        ttl_jitter_s=ttl_jitter_s,
        now=clock,
        random=lambda: random,
    )


def make_verifier(ring: KeyRing, clock: HandClock, *, leeway_s: int = 2) -> AccessTokenVerifier:
    return AccessTokenVerifier(keys=ring, issuer=ISSUER, audience=AUDIENCE, now=clock, leeway_s=leeway_s)
