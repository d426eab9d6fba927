"""What every existence filter promises, whatever it keeps its names in."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tests.contract.stories import told
from tidegate.domain.users import IdentifierKind, LoginIdentifier
from tidegate.ports.users import ExistenceFilter

NAMES = [
    LoginIdentifier(IdentifierKind.USERNAME, "ada"),
    LoginIdentifier(IdentifierKind.USERNAME, "straße"),
    LoginIdentifier(IdentifierKind.EMAIL, "ada@example.org"),
    LoginIdentifier(IdentifierKind.PHONE_NUMBER, "+4930123456"),
]


class ExistenceWorld(Protocol):
    """A filter, and what its keeper does to it."""

    @property
    def existence(self) -> ExistenceFilter:
        """The filter."""

    async def load(self) -> None:
        """Gather whatever is in the database: nothing."""

    def decide(self, *, alone: bool) -> None:
        """Have the lease, or lose it."""


class ExistenceFilterContract:
    """What an existence filter promises."""

    def opened(self) -> AbstractAsyncContextManager[ExistenceWorld]:
        """One that is not loaded."""
        raise NotImplementedError

    @told
    async def test_before_it_is_loaded_everything_might_be_in_it(self, world: ExistenceWorld) -> None:
        world.decide(alone=True)
        assert all(world.existence.might_contain(name) for name in NAMES)
        assert not any(world.existence.lacks(name) for name in NAMES)

    @told
    async def test_what_was_not_added_is_not_in_it(self, world: ExistenceWorld) -> None:
        await world.load()
        assert not any(world.existence.might_contain(name) for name in NAMES)

    @told
    async def test_what_was_added_might_be_in_it_from_then_on(self, world: ExistenceWorld) -> None:
        await world.load()
        world.decide(alone=True)
        for count, name in enumerate(NAMES):
            assert world.existence.add([name])
            assert all(world.existence.might_contain(added) for added in NAMES[: count + 1])
            assert not any(world.existence.lacks(added) for added in NAMES[: count + 1])
            assert all(world.existence.lacks(absent) for absent in NAMES[count + 1 :])

    @told
    async def test_what_was_added_while_it_was_loading_is_in_it(self, world: ExistenceWorld) -> None:
        world.existence.add(NAMES)
        await world.load()
        assert world.existence.add(NAMES)
        assert all(world.existence.might_contain(name) for name in NAMES)

    @told
    async def test_it_proves_nothing_unless_it_decides_alone(self, world: ExistenceWorld) -> None:
        await world.load()
        assert not any(world.existence.lacks(name) for name in NAMES)
        world.decide(alone=True)
        assert all(world.existence.lacks(name) for name in NAMES)
        world.decide(alone=False)
        assert not any(world.existence.lacks(name) for name in NAMES)
