"""Clients of a fault's own: each has one user, opens sessions, and presents their access tokens at every node.

A token is presented again when its session ended more than a second ago: then no node may let it in (DESIGN 5.4). What was
let in and what was not is in the history, and `checkers.revoked_use` and `checkers.no_false_404` decide.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.calling import Calls, Person, Session, new_person
from tests.faults.checkers import TOLD_WITHIN_S
from tests.faults.stages import Stage

_OVERDUE_S: Final = TOLD_WITHIN_S + 0.01
_TIMES: Final = 3
_BETWEEN_S: Final = 0.2
_TRIES: Final = 5


@dataclass
class Stranger:
    """One such client.

    Attributes:
        nodes: The names of all.
    """

    calls: Calls
    person: Person
    nodes: Sequence[str]

    @classmethod
    def registered(cls, stage: Stage, number: int) -> "Stranger | None":
        """A new one, or None where nobody can be registered now."""
        name = f"stranger-{number}"
        stranger = cls(stage.calls(name), new_person(name, number, stage.chance), [node.name for node in stage.parts.nodes])
        stage.persons.append(stranger.person)
        for _ in range(_TRIES):  # who was registered without an answer is told 400, and is there
            if stranger.calls.register(stranger.person, stage.node.name) in {200, 400}:
                return stranger
        return None

    def session(self) -> Session | None:
        """A new session, which all nodes have let in; None where there can be none now."""
        for _ in range(_TRIES):
            _, session = self.calls.log_in(self.person, self.nodes[0], 0, "username")
            if session is not None:
                self.present(session)
                return session
        return None

    def present(self, session: Session) -> None:
        """Show the access token of *session* to all nodes."""
        for node in self.nodes:
            self.calls.me(self.person, node, session)

    def present_overdue(self, session: Session, ended_s: float) -> None:
        """Show the access token of *session* to all nodes, some times, from when none may let it in any more.

        Args:
            session: Has ended.
            ended_s: When it was known to, on the clock of the harness.
        """
        time.sleep(max(0.0, ended_s + _OVERDUE_S - time.monotonic()))
        for _ in range(_TIMES):
            self.present(session)
            time.sleep(_BETWEEN_S)


@contextlib.contextmanager
def strangers(stage: Stage, count: int) -> Iterator[list[Stranger]]:
    """So many, or fewer where they cannot be registered."""
    found = [each for number in range(count) if (each := Stranger.registered(stage, number)) is not None]
    try:
        yield found
    finally:
        for stranger in found:
            stranger.calls.caller.close()


def all_at_once(works: Sequence[Callable[[], None]]) -> None:
    """Do all of *works* beside each other, to their ends; then raise what one raised."""
    faults: list[BaseException] = []

    def do(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=do, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fault in faults:
        raise fault
