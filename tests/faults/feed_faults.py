"""The faults of one node's feed of changes: whatever it hears, late or never, a revoked session's token is refused in time.

Sessions end at the other node meanwhile, and their access tokens are presented at both as soon as neither may let them in.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from tests.faults.calling import Session
from tests.faults.proxy import Weather
from tests.faults.stages import Stage
from tests.faults.strangers import Stranger, all_at_once, strangers
from tidegate.storage.revocations import APPLICATION_NAME

_STRANGERS: Final = 8
_BETWEEN_S: Final = 0.3

_LISTENING: Final = APPLICATION_NAME.encode()
"""What a connection that listens says of itself when it begins."""

_SECOND_LINE_S: Final = 1.5
"""So long without the queue, and a node listens in the database, for ten seconds at least."""


def queue_cut_off_from_a_node(stage: Stage) -> None:
    """One node's line to NATS; its feed goes on by LISTEN."""
    with ending_sessions(stage) as ending, stage.node.queue.weather(_silence(stage)):
        ending()


def listening_cut_off(stage: Stage) -> None:
    """One node's LISTEN, and nothing else of what it has at the primary, while it listens because the queue was away."""
    with ending_sessions(stage) as ending:
        with stage.node.queue.weather(Weather(refuses=True)):
            time.sleep(_SECOND_LINE_S)
        with stage.node.database.weather(_silence(stage, of=_LISTENING)):
            ending()


def feed_cut_off(stage: Stage) -> None:
    """Both lines of one node at once: nobody tells it anything, and it has to ask the primary."""
    with (
        ending_sessions(stage) as ending,
        stage.node.queue.weather(_silence(stage)),
        stage.node.database.weather(_silence(stage, of=_LISTENING)),
    ):
        ending()


def _silence(stage: Stage, *, of: bytes | None = None) -> Weather:
    """Reset at once, or silent in one way or the other: a silent line is found out by a clock alone."""
    way = stage.chance.choice(("refused", "deaf", "dumb"))
    return Weather(refuses=way == "refused", drops_requests=way == "deaf", drops_answers=way == "dumb", of=of)


@contextlib.contextmanager
def ending_sessions(stage: Stage) -> Iterator[Callable[[], None]]:
    """What ends sessions, one after the other while the fault lasts, and presents their tokens when they are overdue."""
    with strangers(stage, _STRANGERS) as there:
        known = [(stranger, session) for stranger in there if (session := stranger.session()) is not None]

        def end_all() -> None:
            all_at_once(
                [stage.hold, *(partial(_end, stage, *each, number * _BETWEEN_S) for number, each in enumerate(known))]
            )

        yield end_all


def _end(stage: Stage, stranger: Stranger, session: Session, after_s: float) -> None:
    """Log out at the node that hears everything."""
    time.sleep(after_s)
    if stranger.calls.log_out(stranger.person, stage.other_node().name, session, "this") == 200:
        stranger.present_overdue(session, time.monotonic())
