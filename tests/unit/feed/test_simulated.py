"""Relays, a stream and listeners under random faults: nobody ever takes for known what is not."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from tidegate.domain.changes import Answer, Change, ChangeKind, Question, Told
from tidegate.feed.follower import ChangeReading, Reading
from tidegate.feed.following import StreamBroken
from tidegate.feed.relay import Relay

SEEDS = range(12)
STEPS = 200
RELAYS = 3
LISTENERS = 3


class Scene:
    """Time and chance: every look at the clock is a moment later, so any two events have an order."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._ticks = itertools.count(1)

    def monotonic(self) -> float:
        return next(self._ticks) / 1_000

    async def pause(self, at_most: int = 6) -> None:
        """Let others go first, for a while."""
        for _ in range(self.chance.randrange(at_most)):
            await asyncio.sleep(0)


class Primary:
    """Changes as they are committed and acknowledged, and the table in which they wait."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._numbers = itertools.count(1)
        self.committed: set[UUID] = set()
        self.acknowledged: dict[UUID, float] = {}
        self.waiting: dict[int, Change] = {}

    async def change(self) -> None:
        """Numbers are drawn long before the commit, so that they are committed in any order."""
        number = next(self._numbers)
        subject = UUID(int=number)
        await self._scene.pause(20)
        self.committed.add(subject)
        self.waiting[number] = Change(number, ChangeKind.SESSION_REVOKED, subject)
        await self._scene.pause()
        self.acknowledged[subject] = self._scene.monotonic()

    async def read(self, *, at_most: int) -> Sequence[Change]:
        await self._scene.pause()
        found = [self.waiting[number] for number in sorted(self.waiting)][:at_most]
        await self._scene.pause()
        return found

    async def remove(self, changes: Sequence[Change]) -> None:
        await self._scene.pause()
        for change in changes:
            self.waiting.pop(change.change_id, None)

    async def condense(self) -> None:
        if self.waiting:
            number = next(self._numbers)
            self.waiting = {number: Change(number, ChangeKind.LOST, None)}


@dataclass
class Stream:
    """One life of the stream on its server; another follows when it is wiped or restarted."""

    messages: list[Told] = field(default_factory=list)
    dropped: int = 0


class Queue:
    """The stream, and whoever reads it. What was acknowledged may be gone after a restart."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.stream = Stream()
        self.relays: list[Relay] = []
        self.listeners: list[Callable[[str, Answer], None]] = []

    async def tell(self, told: Told) -> None:
        await self._scene.pause()
        stream = self.stream
        if self._scene.chance.random() < 0.1:
            raise ConnectionError
        stream.messages.append(told)
        await self._scene.pause()
        if self._scene.chance.random() < 0.1 or stream is not self.stream:
            raise ConnectionError  # stored, and nobody was told so

    async def answer(self, reply_to: str, answer: Answer) -> None:
        async def arrive() -> None:
            await self._scene.pause(30)
            for listener in self.listeners:
                listener(reply_to, answer)

        for _ in range(self._scene.chance.choice([0, 1, 1, 1, 1, 2])):
            asyncio.get_running_loop().create_task(arrive())

    def restart(self) -> None:
        """Everything is gone, or the latest of it, or nothing; whoever reads is cut off."""
        kept = self._scene.chance.choice([0, 0, len(self.stream.messages), max(0, len(self.stream.messages) - 3)])
        self.stream = Stream(self.stream.messages[:kept], min(self.stream.dropped, kept))

    def drop_oldest(self) -> None:
        """A limit of the stream is reached."""
        written = len(self.stream.messages)
        self.stream.dropped = self._scene.chance.randint(max(self.stream.dropped, written - 2), written)

    @asynccontextmanager
    async def read(
        self,
        *,
        on_told: Callable[[int, Told], None],
        on_answer: Callable[[Answer], None],
        on_end: Callable[[], None],
    ) -> AsyncIterator[ChangeReading]:
        address = str(self._scene.chance.random())

        def hear(to: str, answer: Answer) -> None:
            if to == address:
                on_answer(answer)

        self.listeners.append(hear)
        after = len(self.stream.messages)
        await self._scene.pause()
        stream = self.stream  # it may have been replaced since we asked where it ends
        delivering = asyncio.create_task(self._deliver(stream, after, on_told, on_end))
        try:
            yield Asking(self, self._scene, address)
        finally:
            delivering.cancel()
            self.listeners.remove(hear)

    async def _deliver(
        self, stream: Stream, after: int, on_told: Callable[[int, Told], None], on_end: Callable[[], None]
    ) -> None:
        """As a server does: behind what was dropped it goes on without a word, and of a wiped stream it is silent."""
        at = after
        while stream is self.stream:
            at = max(at, stream.dropped)
            if at < len(stream.messages):
                on_told(at + 1, stream.messages[at])
                at += 1
            await self._scene.pause(10 if self._scene.chance.random() < 0.9 else 100)
            await asyncio.sleep(0)
        if self._scene.chance.random() < 0.7:
            on_end()


class Asking:
    """A reading's way to the relays."""

    def __init__(self, queue: Queue, scene: Scene, address: str) -> None:
        self._queue = queue
        self._scene = scene
        self._address = address

    async def ask(self, question: Question) -> None:
        async def arrive(relay: Relay) -> None:
            await self._scene.pause(20)
            relay.asked(question, self._address)

        for relay in self._queue.relays:
            if self._scene.chance.random() < 0.8:
                asyncio.get_running_loop().create_task(arrive(relay))


class Listener:
    """Knows what it was told, and is held to what it takes for proven."""

    def __init__(self, scene: Scene, primary: Primary) -> None:
        self._scene = scene
        self._primary = primary
        self.known: set[UUID] = set()
        self.missed: set[UUID] = set()
        self.proofs = 0

    async def begin(self) -> float:
        sent_at = self._scene.monotonic()
        await self._scene.pause()
        self.known |= self._primary.committed
        await self._scene.pause()
        return sent_at

    def hear(self, told: Told) -> None:
        self.known.update(told.revoked)

    def prove(self, sent_at: float) -> None:
        self.proofs += 1
        self.missed |= {
            subject
            for subject, acknowledged_at in self._primary.acknowledged.items()
            if acknowledged_at < sent_at and subject not in self.known
        }

    def rest(self) -> None:
        return


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_stopped_wiped_doubled_or_late_nobody_takes_for_known_what_is_not(seed: int) -> None:
    asyncio.run(_play(seed))


async def _play(seed: int) -> None:
    scene = Scene(seed)
    primary, queue = Primary(scene), Queue(scene)
    listeners = [Listener(scene, primary) for _ in range(LISTENERS)]

    async def relay_until_killed(relay: Relay) -> None:
        while True:
            with suppress(ConnectionError):
                await relay.tell_waiting()
            await scene.pause(30 if scene.chance.random() < 0.9 else 300)  # now and then it is stopped for long

    async def follow(listener: Listener) -> None:
        while True:
            with suppress(StreamBroken):
                await Reading(queue, listener, listener.prove, 0.0, scene.monotonic).run()
            await asyncio.sleep(0)

    def start_relay() -> asyncio.Task[None]:
        relay = Relay(
            waiting=primary,
            teller=queue,
            on_failure=lambda _: None,
            changes_at_once_max=scene.chance.choice([2, 100]),
            monotonic=scene.monotonic,
        )
        queue.relays.append(relay)
        return asyncio.create_task(relay_until_killed(relay))

    relaying = [start_relay() for _ in range(RELAYS)]
    following = [asyncio.create_task(follow(listener)) for listener in listeners]
    changing: list[asyncio.Task[None]] = []
    for _ in range(STEPS):
        fate = scene.chance.random()
        if fate < 0.25:
            changing.append(asyncio.create_task(primary.change()))
        elif fate < 0.27:
            queue.restart()
        elif fate < 0.31:
            queue.drop_oldest()
        elif fate < 0.33:
            await primary.condense()
        elif fate < 0.35:
            at = scene.chance.randrange(RELAYS)
            relaying[at].cancel()
            queue.relays.pop(at)
            relaying.pop(at)
            relaying.append(start_relay())
        await scene.pause(20)
    for task in (*relaying, *following, *changing):
        task.cancel()
    await asyncio.gather(*relaying, *following, *changing, return_exceptions=True)
    assert not any(listener.missed for listener in listeners), f"seed {seed}: taken for known, and was not"
    assert sum(listener.proofs for listener in listeners) > LISTENERS, "nothing was tried"
