"""Passwords hashed, compared and refused."""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from tidegate.domain.lanes import Lane


class Client(Protocol):
    """Who asked for what is being done, as far as its connection tells.

    Attributes:
        has_gone: It will hear no answer.
        may_have_gone: It will ask nothing more, and may have gone.
        on_leaving: Called when one of these becomes true, if it is set; for one who waits at a time.
    """

    has_gone: bool
    may_have_gone: bool
    on_leaving: Callable[[], None] | None


class Passwords(Protocol):
    """Hashes and compares passwords off the event loop, on no more threads than the node has cores."""

    async def matches(self, password: str, password_hash: str, *, user_id: UUID, lane: Lane) -> bool:
        """Whether *password*, normalised, is the one behind *password_hash*, in any accepted notation.

        A hash in a notation or with a cost that is not accepted matches nothing, and costs nothing. Equal tries of one user
        at one time are computed once.

        Raises:
            HashPoolSaturated: It could not start in time, or whoever asked has gone. Raised at once when that can be
                foretold.
        """

    def refuse_if_full(self, lane: Lane, *, besides: int = 0) -> None:
        """Whoever would be refused in *lane* hears it now, before anything else is done for them (DESIGN 5.9).

        Args:
            lane: Whose places are meant.
            besides: How many have been refused for the same reason without being asked about, since the last who was.

        Raises:
            HashPoolSaturated: As `matches` would now.
        """

    async def hash(self, password: str, *, lane: Lane) -> str:
        """A PHC string of *password* under the current profile.

        Raises:
            HashPoolSaturated: As `matches`. In the lane of rehashes: unless it starts at once.
        """

    def is_outdated(self, password_hash: str) -> bool:
        """Whether *password_hash* is not of the current profile."""

    def is_idle(self) -> bool:
        """Whether a thread is free, so that a hash that can wait for another day costs nobody a place."""

    async def imitate(self, *, lane: Lane) -> None:
        """Take as long as `matches` takes now, on a timer, not on a core; refuse when it would (DESIGN 2, hardened).

        Raises:
            HashPoolSaturated: As `matches`.
        """


class Blocklist(Protocol):
    """Passwords that nobody may choose (NIST SP 800-63B section 5.1.1.2, ASVS v5.0.0-6.2.4)."""

    def holds(self, password: str) -> bool:
        """Whether *password* is among the common ones, in whatever case."""
