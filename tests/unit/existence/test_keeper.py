"""The keeper decides alone only after all that makes a "no" true, and gives way before it says that it has."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from tests.unit.existence.worlds import SharedWorld, opened_world, username
from tidegate.domain.changes import Told
from tidegate.domain.errors import DatabaseUnavailable
from tidegate.existence import blocks, keeper
from tidegate.existence.keeper import Keeper
from tidegate.existence.memory import CURRENT, DECIDES_UNTIL, FilterMemory
from tidegate.existence.news import News


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_GATHERING_S", "_RENEW_S", "_LAPSE_S", "_LOOK_S", "_PAUSE_S_MIN", "_PAUSE_S_MAX"):
        monkeypatch.setattr(keeper, name, 0.0001)
    monkeypatch.setattr(blocks, "_GROWTH_NAMES_MIN", 100)


class FakeDatabase:
    """Names and a lease in memory; writes down what it is asked, and whether the filter decided at that moment."""

    def __init__(self, memory: FilterMemory) -> None:
        self.memory = memory
        self.names = ["ada"]
        self.sequence = 0
        self.is_free = True
        self.is_reachable = True
        self.is_failing = False
        self.asked: list[str] = []
        self.decided_while: set[str] = set()
        self.since: list[int | None] = []
        self.on_scan: Callable[[], None] = lambda: None
        self.transactions = 100
        self.by_id: dict[UUID, str] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator["FakeDatabase"]:
        self._note("open")
        yield self

    def _note(self, asked: str) -> None:
        self.asked.append(asked)
        if self.memory.words[DECIDES_UNTIL]:
            self.decided_while.add(asked)
        if not self.is_reachable:
            raise DatabaseUnavailable from ConnectionRefusedError()
        if self.is_failing and asked != "open":
            raise DatabaseUnavailable from PermissionError()

    async def hold(self) -> bool:
        self._note("hold")
        return self.is_free

    async def lease(self) -> int:
        self._note("lease")
        return self.sequence

    async def claim(self, note: int) -> bool:
        self._note("claim")
        self.sequence = -note
        return True

    async def win(self, note: int) -> bool:
        self._note("win")
        if self.sequence == -note:
            self.sequence = note
        return self.sequence == note

    async def renew(self, note: int, *, timeout_s: float) -> bool:
        self._note("renew")
        return self.sequence == note

    async def names_of(self, user_ids: list[UUID]) -> list[bytes]:
        self._note("names_of")
        return [self.by_id[user_id].encode() for user_id in user_ids if user_id in self.by_id]

    async def give_up(self, note: int) -> None:
        self._note("give_up")
        if self.sequence == note:
            self.sequence = 0

    async def horizon(self) -> int:
        self._note("horizon")
        self.transactions += 1
        return self.transactions

    async def count(self) -> int:
        self._note("count")
        return len(self.names)

    async def scan(self, take: Callable[[list[bytes]], Awaitable[None]], *, since: int | None) -> None:
        self._note("scan")
        self.since.append(since)
        await take([name.encode() for name in self.names])
        self.on_scan()


class World:
    """A keeper at work."""

    def __init__(self, shared: SharedWorld, *, decides_alone: bool, news: News | None = None) -> None:
        self.shared = shared
        self.database = FakeDatabase(shared.memory)
        self.reported: list[tuple[str, Exception | None]] = []
        self.keeper = Keeper(
            memory=shared.memory,
            open_database=self.database.open,
            decides_alone=decides_alone,
            report=lambda event, error: self.reported.append((event, error)),
            news=news,
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - the keeper tells nobody
                await asyncio.sleep(0)


async def _nothing(_world: World) -> None:
    pass


def kept(
    story: Callable[[World], Awaitable[None]],
    *,
    decides_alone: bool = True,
    before: Callable[[World], Awaitable[None]] = _nothing,
    news: News | None = None,
) -> World:
    """Tell *story* beside a keeper that works, and end it."""

    async def tell(world: World) -> None:
        await before(world)
        keeping = asyncio.create_task(world.keeper.run())
        try:
            await story(world)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    with opened_world() as shared:
        world = World(shared, decides_alone=decides_alone, news=news)
        asyncio.run(tell(world))
        assert not shared.memory.words[DECIDES_UNTIL], "whoever is told to stop gives way"
        return world


async def _deciding(world: World) -> None:
    await world.until(lambda: world.shared.existence.decides)


def test_it_claims_then_scans_then_wins_then_decides() -> None:
    async def story(world: World) -> None:
        await _deciding(world)
        assert not world.shared.existence.lacks(username("ada"))
        assert world.shared.existence.lacks(username("bob"))

    database = kept(story).database
    gathered = ["open", "count", "horizon", "scan"]
    assert database.asked[:11] == [*gathered, "hold", "lease", "claim", "horizon", "scan", "win", "renew"]
    assert database.decided_while <= {"renew"}
    assert database.sequence == 0
    assert database.asked[-1] == "give_up"


def test_the_second_scan_asks_only_for_what_came_since_the_first() -> None:
    database = kept(_deciding).database
    assert database.since == [None, 101]


def test_where_nobody_decides_alone_there_is_no_lease() -> None:
    async def story(world: World) -> None:
        await world.until(lambda: bool(world.shared.memory.words[CURRENT]))
        for _ in range(100):
            await asyncio.sleep(0.0001)
        assert not world.shared.existence.might_contain(username("bob"))
        assert not world.shared.existence.lacks(username("bob"))

    assert kept(story, decides_alone=False).database.asked == ["open", "count", "horizon", "scan"]


def test_a_claim_that_somebody_ended_during_the_scan_is_begun_anew() -> None:
    async def story(world: World) -> None:
        def somebody_is_added() -> None:
            if "claim" in world.database.asked and "bob" not in world.database.names:
                world.database.names.append("bob")
                world.database.sequence = 0

        world.database.on_scan = somebody_is_added
        await _deciding(world)
        assert not world.shared.existence.lacks(username("bob"))

    asked = kept(story).database.asked
    assert asked.count("claim") == 2
    assert "renew" not in asked[: asked.index("win") + 1]


def test_it_gives_way_before_it_says_so() -> None:
    """Whoever waits for the lease to end goes on as soon as the database says that it has."""

    async def story(world: World) -> None:
        await _deciding(world)
        world.database.names.append("bob")
        world.database.sequence = 0
        await world.until(lambda: "give_up" in world.database.asked)
        await _deciding(world)
        assert not world.shared.existence.lacks(username("bob"))

    assert "give_up" not in kept(story).database.decided_while


def test_where_the_keeper_of_another_node_has_the_lease_nothing_is_claimed() -> None:
    async def story(world: World) -> None:
        world.database.is_free = False
        await world.until(lambda: world.database.asked.count("hold") > 3)
        assert "lease" not in world.database.asked
        world.database.is_free = True
        await _deciding(world)

    kept(story)


def test_a_keeper_that_comes_after_a_killed_one_has_its_lease_at_once() -> None:
    """Whatever was added meanwhile was noted in the filter, or the lease would be gone."""

    async def killed(world: World) -> None:
        await world.shared.load(["ada"])
        world.database.sequence = world.shared.memory.note_of(world.shared.memory.words[CURRENT])

    assert kept(_deciding, before=killed).database.asked[:4] == ["open", "hold", "lease", "renew"]


def test_the_lease_of_a_dead_node_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its API processes may believe in it a little longer than it lives."""
    monkeypatch.setattr(keeper, "_LAPSE_S", 4321.0)
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note_sleep(delay: float) -> None:
        slept.append(delay)
        await sleep(0)

    async def story(world: World) -> None:
        world.database.sequence = 99
        monkeypatch.setattr(asyncio, "sleep", note_sleep)
        while "claim" not in world.database.asked:
            await sleep(0)
        assert 4321.0 in slept

    kept(story)


def test_a_full_filter_is_replaced_by_a_larger_one_and_decides_again() -> None:
    async def story(world: World) -> None:
        await _deciding(world)
        first = world.shared.memory.words[CURRENT]
        for number in range(200):
            name = f"user-{number}"
            world.shared.existence.add([username(name)])
            world.database.names.append(name)
        await world.until(lambda: world.shared.memory.words[CURRENT] != first)
        await _deciding(world)
        assert not world.shared.memory.is_wanting()
        assert all(world.shared.existence.might_contain(username(f"user-{number}")) for number in range(200))

    database = kept(story).database
    assert "count" not in database.decided_while, "while the next is gathered nobody decides"


def test_without_the_database_nobody_decides_and_it_comes_back() -> None:
    async def story(world: World) -> None:
        await _deciding(world)
        world.database.is_reachable = False
        await world.until(lambda: world.database.asked.count("open") > 2)
        assert not world.shared.existence.decides
        assert world.shared.existence.might_contain(username("ada"))
        world.database.is_reachable = True
        await _deciding(world)

    database = kept(story).database
    assert database.since[-1] is None or database.sequence == 0


@pytest.mark.parametrize("decides_alone", [True, False])
def test_an_outage_is_told_of_once_with_its_cause_and_so_is_its_end(decides_alone: bool) -> None:
    """Not each second; and that it could connect is not the end, if it fails at what it is asked then."""

    async def outage(world: World, number: int) -> None:
        world.database.is_reachable = False
        opened = world.database.asked.count("open")
        await world.until(lambda: world.database.asked.count("open") > opened + 3)
        assert len(_failures(world)) == number
        world.database.is_reachable = True
        await world.until(lambda: len(_ends(world)) == number)

    async def story(world: World) -> None:
        await outage(world, 1)
        if decides_alone:
            await _deciding(world)
            await outage(world, 2)

    async def away(world: World) -> None:
        world.database.is_reachable = False

    world = kept(story, decides_alone=decides_alone, before=away)
    assert {type(error) for error in _failures(world)} == {ConnectionRefusedError}


def _failures(world: World) -> list[Exception]:
    return [error for _, error in world.reported if error is not None]


def _ends(world: World) -> list[str]:
    return [event for event, _ in world.reported if event.endswith("again")]


def test_a_database_that_lets_us_in_and_then_fails_is_told_of_once() -> None:
    async def story(world: World) -> None:
        await world.until(lambda: world.database.asked.count("count") > 3)
        assert (len(_failures(world)), _ends(world)) == (1, [])
        world.database.is_failing = False
        await _deciding(world)

    async def failing(world: World) -> None:
        world.database.is_failing = True

    assert len(_ends(kept(story, before=failing))) == 1


def test_what_another_connection_has_seen_does_not_shorten_a_scan() -> None:
    """It may have led to another history of the database: a restored one, say."""

    async def story(world: World) -> None:
        await _deciding(world)
        world.database.is_reachable = False
        await world.until(lambda: world.database.asked.count("open") > 2)
        world.database.sequence = 0
        world.database.is_reachable = True
        await _deciding(world)

    assert kept(story).database.since == [None, 101, None]


class Moments:
    """A clock of which each look is a second later."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_names_that_other_nodes_add_are_in_the_filter_before_it_says_so() -> None:
    bob, news = uuid4(), News(monotonic=Moments())

    async def story(world: World) -> None:
        existence = world.shared.existence
        await news.begin()
        assert existence.fed_until_ns == 0, "it says nothing before anything is proven"
        news.prove(1_500.0)
        await world.until(lambda: existence.fed_until_ns == 1_500_000_000_000)
        assert not existence.might_contain(username("bob"))
        world.database.by_id[bob] = "bob"
        news.hear(Told(marker="one", added=(bob, uuid4())))
        news.prove(1_600.0)
        await world.until(lambda: existence.fed_until_ns == 1_600_000_000_000)
        assert existence.might_contain(username("bob"))
        assert "claim" not in world.database.asked

    kept(story, decides_alone=False, news=news)


def test_after_an_interruption_and_after_an_import_the_table_is_looked_through() -> None:
    news = News(monotonic=Moments())

    async def story(world: World) -> None:
        existence = world.shared.existence
        await news.begin()
        world.database.names.append("imported")
        news.hear(Told(marker="one", added_many=True))
        news.prove(1_500.0)
        await world.until(lambda: existence.fed_until_ns == 1_500_000_000_000)
        assert existence.might_contain(username("imported"))
        world.database.names.append("missed")
        await news.begin()
        assert existence.might_contain(username("missed"))

    kept(story, decides_alone=False, news=news)


def test_names_that_could_not_be_fetched_are_fetched_later_and_the_filter_does_not_say_before_that_it_has_them() -> None:
    bob, news = uuid4(), News(monotonic=Moments())

    async def story(world: World) -> None:
        existence = world.shared.existence
        await news.begin()
        world.database.by_id[bob] = "bob"
        world.database.is_failing = True
        news.hear(Told(marker="one", changed=(bob,)))
        news.prove(1_500.0)
        failed = len(world.reported)
        await world.until(lambda: len(world.reported) > failed)
        assert existence.fed_until_ns == 0
        world.database.is_failing = False
        await world.until(lambda: existence.fed_until_ns == 1_500_000_000_000)
        assert existence.might_contain(username("bob"))

    kept(story, decides_alone=False, news=news)


def test_with_very_many_new_users_the_table_is_looked_through_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.existence.news._PENDING_MAX", 10)
    news = News(monotonic=Moments())

    async def story(world: World) -> None:
        await news.begin()
        world.database.names.append("one of many")
        news.hear(Told(marker="one", added=tuple(uuid4() for _ in range(11))))
        await world.until(lambda: world.shared.existence.might_contain(username("one of many")))
        assert "names_of" not in world.database.asked

    kept(story, decides_alone=False, news=news)
