"""Whoever asks whether a node is ready hears it in time, and asking costs nothing that logins need."""

import asyncio
import json

import pytest

from tidegate.api.endpoints import health
from tidegate.api.endpoints.health import ReadyEndpoint
from tidegate.api.http import Request
from tidegate.domain.errors import DatabaseUnavailable, DeadlineExceeded

REQUEST = Request(method="GET", path="/health/ready", query=b"", headers={}, address=None, request_id="1")


async def _well() -> None:
    """Answer at once."""


def test_a_full_lane_is_told_and_the_node_is_ready_all_the_same() -> None:
    """A balancer that takes full nodes out takes out all of them in a storm."""
    answer = asyncio.run(ReadyEndpoint(checks=(_well,), full=lambda: ["login"])(REQUEST))
    assert answer.status == 200
    assert json.loads(answer.body)["full"] == ["login"]


def test_what_a_check_says_is_raised() -> None:
    async def away() -> None:
        raise DatabaseUnavailable

    async def run() -> None:
        ready = ReadyEndpoint(checks=(_well, away), full=list)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                await ready(REQUEST)

    asyncio.run(run())


def test_a_check_that_hangs_is_answered_in_time_asked_once_and_never_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a balancer silence is death. And a question that is broken off costs the pool its connection."""
    monkeypatch.setattr(health, "READY_WITHIN_S", 0.01)
    asked, broken_off = 0, 0
    comes_back = asyncio.Event()

    async def hanging() -> None:
        nonlocal asked, broken_off
        asked += 1
        try:
            await comes_back.wait()
        except asyncio.CancelledError:
            broken_off += 1
            raise

    async def run() -> None:
        ready = ReadyEndpoint(checks=(hanging,), full=list)
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                await ready(REQUEST)
        assert (asked, broken_off) == (1, 0)
        comes_back.set()
        assert (await ready(REQUEST)).status == 200
        assert (await ready(REQUEST)).status == 200
        assert asked > 1

    asyncio.run(run())
