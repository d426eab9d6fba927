"""Goes on, in a task, with a coroutine that was begun without one: most requests never wait for anything."""

import types
from collections.abc import Coroutine, Generator
from typing import Any


@types.coroutine
def resumed(begun: Coroutine[Any, None, None], awaited: object) -> Generator[Any, None, None]:
    """Go on with *begun*, which has been sent None once and waits for *awaited*, in the task that awaits this."""
    while True:
        try:
            yield awaited
        except BaseException as error:
            try:
                awaited = begun.throw(error)
            except StopIteration:
                return
        else:
            yield from begun
            return
