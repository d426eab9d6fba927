"""What a crowd asks of a campaign costs one question a second, whatever is asked for."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tidegate.api.endpoints.campaigns import OUTLASTED_S, REMEMBERED_S, CampaignEndpoint
from tidegate.api.http import Answer, Headers, Request
from tidegate.domain.campaigns import CampaignState
from tidegate.domain.errors import DatabaseUnavailable, UnknownCampaign
from tidegate.domain.participation import ShownCampaign

SPRING = ShownCampaign(
    code="spring",
    name="Spring",
    opens_at=datetime(2026, 3, 1, tzinfo=UTC),
    closes_at=datetime(2026, 4, 1, tzinfo=UTC),
    percent=Decimal("15.00"),
    state=CampaignState.ACTIVE,
    seats_left=7,
)


class World:
    """An endpoint, its database, and a clock in hand."""

    def __init__(self) -> None:
        self.campaigns = [SPRING]
        self.asked = 0
        self.is_away = False
        self.now = 1_000.0
        self.endpoint = CampaignEndpoint(self, monotonic=lambda: self.now)

    async def shown(self) -> Sequence[ShownCampaign]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise DatabaseUnavailable
        return list(self.campaigns)

    def show(self, code: str = "spring", if_none_match: bytes | None = None) -> Answer:
        headers: Headers = {} if if_none_match is None else {b"if-none-match": [if_none_match]}
        request = Request("GET", f"/campaigns/{code}", b"", headers, None, "id", path_value=code)
        return asyncio.run(self.endpoint(request))

    def seats_left(self) -> int:
        left: int = json.loads(self.show().body)["seats_left"]
        return left


@pytest.fixture
def world() -> World:
    return World()


def test_it_is_asked_once_a_second_for_all_whatever_is_asked_for(world: World) -> None:
    for code in ("spring", "SPRING", "unknown", "draft") * 10:
        if code.lower() == "spring":
            assert world.show(code).status == 200
        else:
            with pytest.raises(UnknownCampaign):
                world.show(code)
    assert world.asked == 1
    world.now += REMEMBERED_S
    world.show()
    assert world.asked == 2


def test_unknown_codes_leave_nothing_behind(world: World) -> None:
    world.show()
    before = len(world.endpoint._pages)
    for number in range(1_000):
        with pytest.raises(UnknownCampaign):
            world.show(f"guess-{number}")
    assert len(world.endpoint._pages) == before == 1


def test_what_changed_is_seen_after_a_second(world: World) -> None:
    assert world.seats_left() == 7
    world.campaigns = [replace(SPRING, seats_left=0, state=CampaignState.EXHAUSTED)]
    assert world.seats_left() == 7
    world.now += REMEMBERED_S
    assert world.seats_left() == 0


def test_edges_may_keep_it_for_a_moment_and_ask_whether_it_stands(world: World) -> None:
    answer = world.show()
    headers = dict(answer.headers)
    assert headers[b"cache-control"] == b"public, max-age=2, stale-while-revalidate=10"
    same = world.show(if_none_match=b"W/" + headers[b"etag"])
    assert (same.status, same.body, dict(same.headers)[b"etag"]) == (304, b"", headers[b"etag"])
    world.campaigns = [replace(SPRING, seats_left=6)]
    world.now += REMEMBERED_S
    assert world.show(if_none_match=headers[b"etag"]).status == 200


def test_while_the_database_is_away_the_last_is_told_and_it_is_asked_once_a_second(world: World) -> None:
    world.show()
    world.is_away = True
    for _ in range(int(OUTLASTED_S) - 1):
        world.now += REMEMBERED_S
        assert [world.seats_left() for _ in range(3)] == [7] * 3
    assert world.asked == int(OUTLASTED_S)
    world.now += 2 * REMEMBERED_S
    with pytest.raises(DatabaseUnavailable):
        world.show()
    world.is_away = False
    assert world.seats_left() == 7


def test_who_was_never_told_hears_that_the_database_is_away(world: World) -> None:
    world.is_away = True
    with pytest.raises(DatabaseUnavailable):
        world.show()
