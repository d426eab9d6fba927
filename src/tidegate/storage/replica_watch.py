"""Looks at one replica several times a second, and says whether it may be read from."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Never

from tidegate.domain.errors import DatabaseUnavailable
from tidegate.storage.failures import StatementFailed
from tidegate.storage.pools import PrimaryPool
from tidegate.storage.replica_pools import START, Position, ReplicaPool

LOOK_INTERVAL_S: Final = 0.2
"""With what an unanswered look may take (0.4 s), under the 1 s within which a sick replica must be out (DESIGN 5.5)."""

TRUSTED_S: Final = 0.8
"""How old the last good look may be. Where this process itself stood still, no timer has to run for that."""

GOOD_LOOKS_MIN: Final = 5
"""In a row before a replica that was out is back: one that comes and goes would fail a read at each turn."""


_POSITIONS_KEPT_S: Final = 60.0
"""How late a replica can be told to be; some 300 positions."""


class Ailment(StrEnum):
    """Why a replica is not read from."""

    AWAY = "away"
    """It does not answer in time: dead, stopped, cut off."""
    PRIMARY_AWAY = "primary away"
    """There is nothing to compare it with."""
    PROMOTED = "promoted"
    """It takes writes of its own, or is an old primary that came back."""
    OTHER_SYSTEM = "other system"
    """It is a copy of another database."""
    NOT_FED = "not fed"
    """It receives nothing, or our role may not see from which timeline."""
    OTHER_TIMELINE = "other timeline"
    """What it receives is not what our primary writes: one of the two was promoted."""
    AHEAD = "ahead"
    """It has replayed what the primary has not written: another log under the same name."""
    PAUSED = "paused"
    """Its replay was paused."""
    LATE = "late"
    """It has not replayed what the primary had flushed longer ago than may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """What a replica says of itself, named as in the statement `replica_state`.

    Attributes:
        is_standby: Whether it only follows.
        is_paused: Whether its replay is paused.
        replayed: Up to where.
        timeline: Of what it receives; None: it receives nothing, or our role may not see.
        system: Which database it is a copy of.
    """

    is_standby: bool
    is_paused: bool
    replayed: int
    timeline: int | None
    system: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryPosition:
    """What the primary says of itself, named as in the statement `primary_position`.

    Attributes:
        flushed: Up to where.
        timeline: That it writes.
        system: Which database it is.
    """

    flushed: int
    timeline: int
    system: int


def ailment_of(state: ReplicaState, primary: PrimaryPosition, *, lag_s: float, lag_s_max: float) -> Ailment | None:
    """Why what says *state* must not be read from; None: it may.

    Args:
        state: Of the replica.
        primary: Asked after the replica had answered, so what the replica had by then, the primary had flushed.
        lag_s: How long ago the primary had flushed no more than the replica has replayed.
        lag_s_max: How long that may be.
    """
    if not state.is_standby:
        return Ailment.PROMOTED
    if state.system != primary.system:
        return Ailment.OTHER_SYSTEM
    if state.timeline is None:
        return Ailment.NOT_FED
    if state.timeline != primary.timeline:
        return Ailment.OTHER_TIMELINE
    if state.replayed > primary.flushed:
        return Ailment.AHEAD
    if state.is_paused:
        return Ailment.PAUSED
    if lag_s > lag_s_max:
        return Ailment.LATE
    return None


class Positions:
    """Where the primary was at which time, by our own monotonic clock: the clocks of the servers decide nothing."""

    def __init__(self, *, kept_s: float) -> None:
        """Begin with nothing.

        Args:
            kept_s: How far back to remember.
        """
        self._kept_s = kept_s
        self._seen: deque[tuple[float, int]] = deque()  # the last of each position, and one older than what is kept

    def note(self, at: float, position: int) -> None:
        """Remember that the primary was asked at *at*, and had flushed up to *position* or further when it answered."""
        if self._seen and position < self._seen[-1][1]:
            self._seen.clear()  # another primary
        self._seen.append((at, position))
        while len(self._seen) > 1 and self._seen[1][0] <= at - self._kept_s:
            self._seen.popleft()

    def lag_s(self, replayed: int, *, now: float) -> float:
        """For how long a replica that has replayed up to *replayed* has been behind, at most; 0.0: it is not."""
        if not self._seen or replayed >= self._seen[-1][1]:
            return 0.0
        missing = next(at for at, position in self._seen if position > replayed)
        return now - missing

    def older_than(self, age_s: float, *, now: float) -> int:
        """The newest position that the primary is known to have had *age_s* ago; 0: none is known."""
        return next((position for at, position in reversed(self._seen) if at <= now - age_s), START)


class ReplicaWatch:
    """Says of one replica whether it may be read from, and what a read there must have seen.

    It has a connection of its own to the replica, so that a pool that is busy looks like nothing worse. Out at the first
    bad look; back after `GOOD_LOOKS_MIN` good ones in a row. Nothing is trusted longer than `TRUSTED_S` after the last good
    look was begun.

    What it says keeps reads fast and nearly fresh; that no answer is wrong does not depend on it (ADR 0021).
    """

    def __init__(
        self,
        *,
        replica: ReplicaPool,
        primary: PrimaryPool,
        lag_s_max: float,
        on_change: Callable[[Ailment | None], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked before `run`.

        Args:
            replica: Of the watch's own, one connection.
            primary: Not the one that serves requests, which may be busy.
            lag_s_max: How late the replica may be.
            on_change: Hears of each change of what ails it.
            monotonic: In seconds.
        """
        self._replica = replica
        self._primary = primary
        self._lag_s_max = lag_s_max
        self._on_change = on_change
        self._monotonic = monotonic
        self._positions = Positions(kept_s=_POSITIONS_KEPT_S)
        self._known: PrimaryPosition | None = None
        self._ailment: Ailment | None = Ailment.AWAY
        self._good_looks = GOOD_LOOKS_MIN - 1  # at the start one is enough
        self._good_at = float("-inf")
        self.lag_s = 0.0
        self.lag_bytes = 0

    @property
    def ailment(self) -> Ailment | None:
        """What ailed it at the last look; None, and it may still be on probation."""
        return self._ailment

    @property
    def is_well(self) -> bool:
        """Whether it may be read from now."""
        return self._good_looks >= GOOD_LOOKS_MIN and self._monotonic() - self._good_at <= TRUSTED_S

    @property
    def must_have_seen(self) -> Position:
        """What every read must have seen: all that the primary had flushed longer ago than the replica may be late."""
        return Position(self._positions.older_than(self._lag_s_max, now=self._monotonic()))

    async def run(self) -> Never:
        """Look again and again."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def look(self) -> None:
        """Look once."""
        begun_at = self._monotonic()
        ailment = await self._examine()
        if ailment is None:
            self._good_looks += 1
            self._good_at = begun_at
        else:
            self._good_looks = 0
        if ailment is not self._ailment:
            self._ailment = ailment
            self._on_change(ailment)

    async def _examine(self) -> Ailment | None:
        try:
            (row,) = await self._replica.fetch("replica_state", seen=START)
            state = ReplicaState(**row)
        except (DatabaseUnavailable, StatementFailed):
            return Ailment.AWAY
        asked_at = self._monotonic()
        try:
            found = await self._primary.fetchrow("primary_position")
        except (DatabaseUnavailable, StatementFailed):
            return Ailment.PRIMARY_AWAY
        if found is None:
            return Ailment.PRIMARY_AWAY
        primary = PrimaryPosition(**found)
        if self._known is not None and (primary.timeline, primary.system) != (self._known.timeline, self._known.system):
            self._positions = Positions(kept_s=_POSITIONS_KEPT_S)  # positions of two timelines do not compare
        self._known = primary
        self._positions.note(asked_at, primary.flushed)
        self.lag_s = self._positions.lag_s(state.replayed, now=self._monotonic())
        self.lag_bytes = max(0, primary.flushed - state.replayed)
        return ailment_of(state, primary, lag_s=self.lag_s, lag_s_max=self._lag_s_max)
