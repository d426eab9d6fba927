"""Lets a contract's test be written as the coroutine that it is."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

W_co = TypeVar("W_co", covariant=True)


class Opens(Protocol[W_co]):
    """A contract: its subclass opens the thing that is under test."""

    def opened(self) -> AbstractAsyncContextManager[W_co]:
        """The thing under test and what is needed around it, closed on the way out."""


def told(story: Callable[..., Awaitable[None]]) -> Callable[[Opens[object]], None]:
    """A plain test function that runs *story* in an event loop of its own, with what `opened` gives."""

    def test(self: Opens[object]) -> None:
        async def tell() -> None:
            async with self.opened() as world:
                await story(self, world)

        asyncio.run(tell())

    # Not functools.wraps: pytest would follow __wrapped__ and look for a fixture named as the story's argument.
    test.__name__ = story.__name__
    test.__doc__ = story.__doc__
    return test
