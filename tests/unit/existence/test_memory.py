"""What is noted in a filter stays in it, through all that a keeper does and however often it dies while doing it."""

import asyncio
import contextlib
import os
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.existence.worlds import SharedWorld, opened_memory, opened_world, username
from tidegate.existence import memory
from tidegate.existence.blocks import Marks, blocks_for
from tidegate.existence.memory import CURRENT, NAMES, NEXT, FilterMemory, NoSharedMemoryError, blocks_of, start_of
from tidegate.existence.shared_filter import NOWHERE


class NotesAreTrue(RuleBasedStateMachine):
    """A note says in which filter a name is. While that filter answers, or is being gathered, the name must be in it."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = opened_world()
        self.world: SharedWorld = self._opened.__enter__()
        self.noted: dict[str, int] = {}
        self.gathered: Marks | None = None

    def teardown(self) -> None:
        self._opened.__exit__(None, None, None)

    @rule(number=st.integers(0, 30))
    def somebody_registers(self, number: int) -> None:
        name = f"user-{number}"
        noted_in = self.world.existence.add([username(name)])
        assert noted_in is not None
        self.noted[name] = noted_in

    @rule(capacity=st.integers(1, 2_000))
    def a_keeper_begins(self, capacity: int) -> None:
        """Also in place of one that died before it was done."""
        filter_ = asyncio.run(self.world.memory.begin(blocks_for(capacity)))
        self.gathered = Marks(blocks_of(filter_))

    @precondition(lambda self: self.gathered is not None)
    @rule(names=st.lists(st.integers(100, 130)))
    def it_scans(self, names: list[int]) -> None:
        assert self.gathered is not None
        self.gathered.take(b"user-%d" % number for number in names)

    @precondition(lambda self: self.gathered is not None)
    @rule(publishes=st.booleans())
    def it_merges(self, publishes: bool) -> None:
        assert self.gathered is not None
        asyncio.run(self.world.memory.merge(self.world.memory.words[NEXT], self.gathered))
        if publishes:
            asyncio.run(self.world.memory.publish())
            self.gathered = None

    @invariant()
    def what_is_noted_is_there(self) -> None:
        shared = self.world.memory
        for filter_ in (shared.words[CURRENT], shared.words[NEXT]):
            for name, noted_in in self.noted.items():
                if filter_ and noted_in == shared.note_of(filter_):
                    assert shared.holds(filter_, name.encode())

    @invariant()
    def two_filters_never_share_a_region_or_a_note(self) -> None:
        shared = self.world.memory
        current, following = shared.words[CURRENT], shared.words[NEXT]
        if current and following:
            assert start_of(current) != start_of(following)
            assert shared.note_of(current) != shared.note_of(following)


TestNotesAreTrue = NotesAreTrue.TestCase
TestNotesAreTrue.settings = settings(max_examples=30, deadline=None)


def test_a_note_is_never_given_twice() -> None:
    """Else the database would take a name noted in a filter that is gone for one in the filter that decides."""
    with opened_memory() as shared, opened_memory() as other:
        notes = []
        for publishes in (True, False, True, True, False, False, True):
            notes.append(shared.note_of(asyncio.run(shared.begin(1))))
            if publishes:
                asyncio.run(shared.publish())
        assert len(set(notes)) == len(notes)
        assert all(NOWHERE < note < 1 << 63 for note in notes), "a sequence of PostgreSQL must hold it, and its negative"
        assert not set(notes) & {other.note_of(filter_ << 32) for filter_ in range(10)}


def test_without_any_filter_nothing_is_noted() -> None:
    with opened_world() as world:
        assert world.existence.add([username("ada")]) == NOWHERE


def test_whoever_is_noted_while_a_successor_is_gathered_is_in_both() -> None:
    with opened_world() as world:
        asyncio.run(world.load())
        following = asyncio.run(world.memory.begin(blocks_for(1_000)))
        assert world.existence.add([username("ada")]) == world.memory.note_of(following)
        assert world.existence.might_contain(username("ada"))
        asyncio.run(world.memory.publish())
        assert world.existence.might_contain(username("ada"))


def test_the_pages_of_a_replaced_filter_are_given_back() -> None:
    with opened_world() as world:
        asyncio.run(world.load([f"user-{number}" for number in range(60_000)], capacity=60_000))
        full = _resident_bytes(world.memory)
        asyncio.run(world.load(["ada"], capacity=60_000))
        assert _resident_bytes(world.memory) < full / 4


def test_nothing_is_left_of_what_a_killed_keeper_had_gathered() -> None:
    """Its successor gathers in the same region, into which the dead one's names would have brought false positives."""
    with opened_world() as world:
        asyncio.run(world.load(["ada"]))
        begun = asyncio.run(world.memory.begin(blocks_for(1_000)))
        asyncio.run(world.memory.add(begun, [b"bob"]))
        asyncio.run(world.load(["ada"]))
        assert start_of(world.memory.words[CURRENT]) == start_of(begun)
        assert world.existence.might_contain(username("ada"))
        assert not world.existence.might_contain(username("bob"))
        assert world.memory.words[NAMES] == 1


class KilledError(BaseException):
    """The process is gone; its lock goes with it."""


class DyingWords:
    """The header, as a process writes it that is killed before its n-th writing."""

    def __init__(self, words: "memoryview[int]", *, writes: int) -> None:
        self._words = words
        self._writes = writes

    def __getitem__(self, word: int) -> int:
        return self._words[word]

    def __setitem__(self, word: int, value: int) -> None:
        if self._writes == 0:
            raise KilledError
        self._writes -= 1
        self._words[word] = value


@pytest.mark.parametrize("writes", range(6))
def test_a_keeper_killed_at_any_step_leaves_a_filter_that_denies_nobody(
    monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Half of what it does in one go, in a header that is torn so, and then the one that comes after it."""
    with opened_world() as world:
        asyncio.run(world.load(["ada"]))
        world.existence.add([username("bob")])
        world.decide(alone=True)
        with monkeypatch.context() as dying:
            dying.setattr(world.memory, "words", DyingWords(world.memory.words, writes=writes))
            with contextlib.suppress(KilledError):
                asyncio.run(world.load(["ada", "bob"]))
        noted_in = world.existence.add([username("cleo")])
        for name in ("ada", "bob", "cleo"):
            assert not world.existence.lacks(username(name))
            assert world.existence.might_contain(username(name))
        following = world.memory.words[NEXT]
        assert not following or noted_in == world.memory.note_of(following)
        asyncio.run(world.load(["ada", "bob", "cleo"]))
        assert not world.memory.is_wanting()
        assert world.existence.lacks(username("dora"))
        assert not any(world.existence.lacks(username(name)) for name in ("ada", "bob", "cleo"))


def _resident_bytes(shared: FilterMemory) -> int:
    return os.fstat(shared._descriptor).st_blocks * 512


def test_names_are_counted_once() -> None:
    with opened_world() as world:
        asyncio.run(world.load(["ada", "bob"]))
        for name in ("ada", "cleo", "cleo"):
            world.existence.add([username(name)])
        assert world.memory.words[NAMES] == 3


def test_names_that_are_noted_while_a_filter_is_gathered_are_counted_too() -> None:
    """Else a filter that was gathered in a storm would be over-full long before it is known to be."""
    with opened_world() as world:
        begun = asyncio.run(world.memory.begin(blocks_for(1_000)))
        world.existence.add([username("cleo")])
        marks = Marks(blocks_of(begun))
        marks.take([b"ada", b"bob"])
        asyncio.run(world.memory.merge(begun, marks))
        asyncio.run(world.memory.publish())
        assert world.memory.words[NAMES] == 3


def test_a_filter_is_wanting_without_names_and_with_too_many() -> None:
    with opened_world() as world:
        assert world.memory.is_wanting()
        asyncio.run(world.load(capacity=100))
        assert not world.memory.is_wanting()
        for number in range(200):
            world.existence.add([username(f"user-{number}")])
        assert world.memory.is_wanting()


def test_a_filter_is_wanting_while_its_successor_is_half_done() -> None:
    """A keeper that finds it so comes after one that was killed."""
    with opened_world() as world:
        asyncio.run(world.load())
        asyncio.run(world.memory.begin(1))
        assert world.memory.is_wanting()


def test_the_largest_filter_is_never_wanting() -> None:
    """Else it would be gathered again and again, and never become larger."""
    with opened_memory() as shared:
        asyncio.run(shared.begin(memory.BLOCKS_MAX * 2))
        asyncio.run(shared.publish())
        shared.words[NAMES] = 1 << 40
        assert blocks_of(shared.words[CURRENT]) == memory.BLOCKS_MAX
        assert not shared.is_wanting()
        # Its last block is inside the region.
        shared.holds(shared.words[CURRENT], b"ada")
        assert start_of(shared.words[CURRENT]) + memory.BLOCKS_MAX * 128 <= len(shared.map)


def test_nobody_can_cut_the_memory_short() -> None:
    """Whoever then looked at a page that is gone would be killed by SIGBUS."""
    descriptor = memory.create()
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 4096)
    os.close(descriptor)


def test_memory_of_something_else_is_refused() -> None:
    with tempfile.TemporaryFile() as file:
        with pytest.raises(NoSharedMemoryError):
            FilterMemory(file.fileno())
        os.ftruncate(file.fileno(), memory._SIZE)
        with pytest.raises(NoSharedMemoryError):
            FilterMemory(file.fileno())


def test_a_system_without_such_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(NoSharedMemoryError):
        memory.create()
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(NoSharedMemoryError):
        memory.create()
