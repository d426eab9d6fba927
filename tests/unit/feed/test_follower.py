"""A reading proves nothing before it knows what came before it, and ends with the first doubt."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from tests.fakes.knowledge import FakePrimary, HandMonotonic, Watcher
from tests.support.waiting import GIVE_UP_AFTER_S, until_so
from tidegate.domain.changes import Answer, Question, Told
from tidegate.feed.follower import ChangeReading, Follower
from tidegate.feed.hearing import Hearing
from tidegate.feed.knowledge import Knowledge


class FakeStream:
    """`feed.follower.ChangeStream` of which a test says what comes when.

    Attributes:
        opened: How many readings there have been.
        questions: What the reading of now has asked.
        is_stuck: A question is not taken, and nothing said.
    """

    def __init__(self) -> None:
        self.is_stuck = False
        self.opened = 0
        self.questions: list[Question] = []
        self.tell: Callable[[int, Told], None]
        self.answer: Callable[[Answer], None]
        self.end: Callable[[], None]

    @asynccontextmanager
    async def read(
        self,
        *,
        on_told: Callable[[int, Told], None],
        on_answer: Callable[[Answer], None],
        on_end: Callable[[], None],
    ) -> AsyncIterator[ChangeReading]:
        self.questions = []
        self.tell, self.answer, self.end = on_told, on_answer, on_end
        self.opened += 1
        yield self

    async def ask(self, question: Question) -> None:
        if self.is_stuck:
            await asyncio.Event().wait()
        self.questions.append(question)


class Scene:
    """A follower between a fake stream and what it learns."""

    def __init__(self, recent: Callable[[float], Awaitable[list[tuple[UUID, float]]]]) -> None:
        self.clock = HandMonotonic()
        self.stream = FakeStream()
        self.watcher = Watcher()
        self.knowledge = Knowledge(primary=FakePrimary(), access_token_ttl_s_max=300.0, monotonic=self.clock)
        self.knowledge.tell(self.watcher)
        hearing = Hearing(self.knowledge, recent=recent, monotonic=self.clock)
        self.follower = Follower(stream=self.stream, listener=hearing, heartbeat_s=0.0, monotonic=self.clock)

    async def until_reading(self, number: int) -> None:
        await until_so(lambda: self.stream.opened == number and bool(self.stream.questions), "no reading begins")

    async def until_asked(self) -> None:
        """Wait for a question that is asked from now on."""
        asked = len(self.stream.questions)
        await until_so(lambda: len(self.stream.questions) > asked, "nothing is asked")

    def prove(self, sequence: int, told: Told | None = None) -> None:
        """Let the newest question be answered by *told*."""
        told = told or Told(marker=str(sequence))
        self.stream.tell(sequence, told)
        self.stream.answer(Answer(self.stream.questions[-1].number, told.marker, "r"))


async def nothing(_within_s: float) -> list[tuple[UUID, float]]:
    return []


def play(story: Callable[[Scene], Awaitable[None]], recent: Callable[..., Awaitable[list[tuple[UUID, float]]]]) -> None:
    async def run() -> None:
        scene = Scene(recent)
        await scene.follower.start()
        try:
            async with asyncio.timeout(GIVE_UP_AFTER_S):
                await story(scene)
        finally:
            await scene.follower.aclose()

    asyncio.run(run())


def test_what_came_before_is_read_once_a_message_has_come_and_before_anything_is_proven() -> None:
    before, since = uuid4(), uuid4()
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def recent(within_s: float) -> list[tuple[UUID, float]]:
        assert within_s == 360.0
        asked.set()
        await may_answer.wait()
        return [(before, 1.0)]

    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        assert not asked.is_set(), "while nobody tells anything the primary is left alone"
        scene.prove(7)
        await asked.wait()
        scene.prove(8, Told(marker="eight", revoked=(since,)))
        assert not scene.knowledge.is_trusted
        may_answer.set()
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")
        assert await scene.knowledge.is_revoked(before)
        assert await scene.knowledge.is_revoked(since)
        assert scene.watcher.told == ["interrupted"]

    play(story, recent)


def test_changes_are_heard_and_proofs_keep_the_trust() -> None:
    async def story(scene: Scene) -> None:
        bob, session_id = uuid4(), uuid4()
        await scene.until_reading(1)
        scene.prove(1)
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")
        scene.clock.now += 0.7
        await scene.until_asked()
        scene.prove(2, Told(marker="two", revoked=(session_id,), changed=(bob,), added=(uuid4(),)))
        scene.clock.now += 0.7
        assert scene.knowledge.is_trusted
        assert await scene.knowledge.is_revoked(session_id)
        assert scene.watcher.told == ["interrupted", bob]

    play(story, nothing)


@pytest.mark.parametrize(
    "doubt",
    [
        lambda scene: scene.stream.end(),
        lambda scene: scene.stream.tell(9, Told(marker="nine")),
        lambda scene: scene.stream.tell(2, Told(marker="two", has_lost=True)),
    ],
    ids=["the connection ends", "a number is missing", "changes were dropped untold"],
)
def test_after_any_doubt_another_reading_begins_and_reads_from_the_primary_anew(doubt: Callable[[Scene], None]) -> None:
    loads: list[float] = []

    async def recent(within_s: float) -> list[tuple[UUID, float]]:
        loads.append(within_s)
        return []

    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        scene.prove(1)
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")
        doubt(scene)
        late = scene.stream.answer
        scene.clock.now += 10
        late(Answer(scene.stream.questions[-1].number, "1", "r"))
        assert not scene.knowledge.is_trusted, "of the reading that has ended nothing is taken any more"
        await scene.until_reading(2)
        assert len(loads) == 1
        scene.prove(1)
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")
        assert len(loads) == 2
        assert scene.watcher.told == ["interrupted", "interrupted"]

    play(story, recent)


def test_that_changes_were_dropped_before_the_reading_began_is_no_doubt() -> None:
    """What came before is read from the primary anyway: else each word of it would cost every process two readings."""

    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        scene.prove(1, Told(marker="one", has_lost=True))
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")
        assert scene.stream.opened == 1

    play(story, nothing)


def test_a_listener_that_could_not_hear_has_not_heard_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_hearing: Hearing, _told: Told) -> None:
        raise MemoryError

    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        scene.prove(1)
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")
        scene.clock.now += 10
        with monkeypatch.context() as failing:
            failing.setattr(Hearing, "hear", cannot)
            scene.prove(2)
        assert not scene.knowledge.is_trusted
        await scene.until_reading(2)

    play(story, nothing)


def test_an_older_proof_that_comes_later_does_not_make_the_line_older() -> None:
    """Else the line that stands in would be opened for nothing."""

    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        scene.prove(1)
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")
        await scene.until_asked()
        scene.stream.answer(Answer(scene.stream.questions[-1].number, "three", "r"))
        scene.clock.now += 0.5
        await scene.until_asked()
        scene.prove(2)
        assert scene.follower.age_s == 0
        scene.stream.tell(3, Told(marker="three"))
        assert scene.follower.age_s == 0

    play(story, nothing)


def test_a_message_of_which_an_answer_told_and_that_does_not_come_ends_the_reading() -> None:
    """The relays write another stream than this one: it was deleted, say, and made anew."""

    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        scene.prove(1)
        await scene.until_asked()
        scene.stream.answer(Answer(scene.stream.questions[-1].number, "elsewhere", "r"))
        scene.clock.now += 1.1
        await scene.until_reading(2)

    play(story, nothing)


def test_a_connection_that_takes_no_question_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.feed.follower._ASK_TIMEOUT_S", 0.01)

    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        scene.prove(1)
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")
        late, last = scene.stream.answer, scene.stream.questions[-1].number
        scene.stream.is_stuck = True
        await until_so(lambda: scene.stream.opened == 2, "no other begins")
        scene.clock.now += 10
        late(Answer(last, "1", "r"))
        assert not scene.knowledge.is_trusted

    play(story, nothing)


def test_what_no_token_can_be_left_of_is_forgotten_while_it_follows() -> None:
    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        scene.knowledge.revoked(uuid4(), age_s=1_000.0)
        assert scene.knowledge.remembered == 1
        await until_so(lambda: scene.knowledge.remembered == 0, "it is remembered for ever")

    play(story, nothing)


def test_a_load_that_fails_ends_the_reading() -> None:
    failures = [ConnectionError()]

    async def recent(_within_s: float) -> list[tuple[UUID, float]]:
        if failures:
            raise failures.pop()
        return []

    async def story(scene: Scene) -> None:
        await scene.until_reading(1)
        scene.prove(1)
        await scene.until_reading(2)
        assert not scene.knowledge.is_trusted
        scene.prove(1)
        await until_so(lambda: scene.knowledge.is_trusted, "nothing is proven")

    play(story, recent)


def test_the_primary_is_not_read_where_another_line_proves_to_know_all() -> None:
    async def never(_within_s: float) -> list[tuple[UUID, float]]:
        raise AssertionError

    async def story(scene: Scene) -> None:
        scene.knowledge.prove(scene.clock.now)
        scene.clock.now += 0.1
        await scene.until_reading(1)
        scene.prove(1)
        scene.clock.now += 0.1
        await asyncio.sleep(0)
        assert scene.follower.age_s == float("inf"), "what was proven before the reading began says nothing about it"
        scene.knowledge.prove(scene.clock.now)
        await until_so(lambda: scene.follower.age_s < 1, "nothing is proven")
        assert scene.stream.opened == 1

    play(story, never)
