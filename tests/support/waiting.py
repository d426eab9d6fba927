"""Waits for what becomes true a moment after an answer, never for a time."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tests.support.client import Reply
from tests.support.nodes import Node

T = TypeVar("T")

GIVE_UP_AFTER_S: Final = 20.0
"""Far over what is promised: a busy machine must not fail a test, and a lost message must not stop the run."""

_CONNECTIONS: Final = 12
"""The kernel gives each to some process of the node; that none of two sees any of them happens once in 2,048 times."""


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until *is_so*.

    Raises:
        AssertionError: It does not come true; says *what*.
    """
    give_up_at = time.monotonic() + GIVE_UP_AFTER_S
    while not is_so():
        assert time.monotonic() < give_up_at, what
        time.sleep(0.02)


async def until_so(is_so: Callable[[], bool], what: str) -> None:
    """As `until`, where others share the event loop.

    Raises:
        AssertionError: It does not come true; says *what*.
    """
    give_up_at = time.monotonic() + GIVE_UP_AFTER_S
    while not is_so():
        assert time.monotonic() < give_up_at, what
        await asyncio.sleep(0.02)


def settled(read: Callable[[], T]) -> T:
    """Return what *read* returns once that has not changed for longer than a count may follow its answer (0.2 s)."""
    found = read()
    while True:
        time.sleep(0.5)
        before, found = found, read()
        if found == before:
            return found


def until_refused(node: Node, access_token: str) -> None:
    """Wait until every process of *node* refuses *access_token*."""

    def ask_anew() -> Reply:
        with node.client() as client:
            return client.get("/me", token=access_token)

    until(lambda: {ask_anew().status for _ in range(_CONNECTIONS)} == {401}, "the access token is still accepted")
