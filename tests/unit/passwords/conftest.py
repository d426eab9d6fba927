"""What the tests of the hash pool share."""

from collections.abc import Iterator

import pytest

from tests.unit.passwords.gates import Gate


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """What every hash parses to in this test."""
    gate = Gate()
    monkeypatch.setattr("tidegate.passwords.pool.parse", lambda _stored: gate)
    yield gate
    gate.open()
