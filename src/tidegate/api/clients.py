"""Whether the client of a request is still there, told to whoever would work for it."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final


class Client:
    """Implements `ports.passwords.Client`: one connection, whose requests come one after the other.

    Attributes:
        has_gone: See `ports.passwords.Client`.
        may_have_gone: See `ports.passwords.Client`.
        on_leaving: See `ports.passwords.Client`.
    """

    __slots__ = ("has_gone", "may_have_gone", "on_leaving")

    def __init__(self) -> None:
        self.has_gone = False
        self.may_have_gone = False
        self.on_leaving: Callable[[], None] | None = None

    def gone(self) -> None:
        """The connection is lost."""
        self.has_gone = True
        self._left()

    def sends_no_more(self) -> None:
        """It has ended its sending: most that do have hung up, and a few still listen (ADR 0013)."""
        self.may_have_gone = True
        self._left()

    def _left(self) -> None:
        if self.on_leaving is not None:
            self.on_leaving()


CLIENT: Final[ContextVar[Client | None]] = ContextVar("client", default=None)
"""For whom the current task works; set by the server."""


def current_client() -> Client | None:
    """For whom the current task works; None: for nobody who could leave."""
    return CLIENT.get()
