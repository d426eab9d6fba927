"""Where there is no filter that can be trusted, everybody is looked up; and the hardened profile trusts none alone."""

import base64
import os
import secrets
import tempfile

import pytest

from tidegate.config import Settings
from tidegate.existence import memory
from tidegate.observability.log import JsonLog
from tidegate.settings_building import build_settings
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.users import PostgresUsers
from tidegate.wiring.existence import decides_alone, filtered, make_memory


def settings(**given: str) -> Settings:
    required = {
        "TIDEGATE_PRIMARY_DSN": "postgresql://tidegate@db.example/tidegate",
        "TIDEGATE_SIGNING_KEYS_FILE": "/keys.json",
        "TIDEGATE_REFRESH_MAC_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="),
    }
    return build_settings(required | {f"TIDEGATE_{name}": text for name, text in given.items()})


@pytest.mark.parametrize(
    ("profile", "mode", "expected"),
    [
        ("contract", "alone", True),
        ("contract", "confirm", False),
        ("contract", "off", False),
        # ADR 0003: a "no" without a look-up comes sooner than one with, and that tells who is registered.
        ("hardened", "alone", False),
        ("hardened", "confirm", False),
    ],
)
def test_a_no_is_final_only_where_it_was_asked_for_and_may_be_told_from_its_timing(
    profile: str, mode: str, expected: bool
) -> None:
    assert decides_alone(settings(PROFILE=profile, EXISTENCE_FILTER=mode)) is expected


def test_a_node_that_is_not_told_otherwise_confirms() -> None:
    """It may be one of several."""
    assert not decides_alone(settings())


def test_without_the_filter_there_is_no_memory_for_it() -> None:
    assert make_memory(settings(EXISTENCE_FILTER="off"), tell=pytest.fail) is None


def test_a_system_without_such_memory_serves_without_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    told: list[str] = []
    assert make_memory(settings(), tell=told.append) is None
    assert len(told) == 1
    assert "without the existence filter" in told[0]


def test_memory_of_something_else_filters_nobody() -> None:
    """Else its zeros would say of everybody that nobody has the name."""
    users = PostgresUsers(
        PrimaryPool(dsn="", size=1, acquire_timeout_s=1, statement_timeout_s=1, connect_timeout_s=1),
    )
    with tempfile.TemporaryFile() as foreign, tempfile.TemporaryFile() as lines:
        os.ftruncate(foreign.fileno(), memory._SIZE)
        found = filtered(users, users, foreign.fileno(), JsonLog(lines.fileno()))
        assert (found.known, found.nearby, found.newcomers) == (users, users, users)
        lines.seek(0)
        assert b"serving without the existence filter" in lines.read()
