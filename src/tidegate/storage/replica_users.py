"""Users looked up on replicas, spread over those that are well, and on the primary where that does not do."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Protocol

from tidegate.domain.errors import DatabaseUnavailable
from tidegate.domain.users import LoginIdentifier, StoredCredentials
from tidegate.ports.users import UserFinder
from tidegate.storage.coalescing import BATCH_KEYS_MAX, READS_AT_ONCE_MAX, Coalescer
from tidegate.storage.connections import Row
from tidegate.storage.failures import ReplicaBehind, StatementFailed
from tidegate.storage.replica_pools import Position
from tidegate.storage.users import FIND_USERS


class ReadOutcome(StrEnum):
    """How a look-up that may lag was answered."""

    REPLICA = "replica"
    """By a replica."""
    NOBODY = "nobody"
    """By the primary, for the replica found nobody."""
    FAILED = "failed"
    """By the primary, for the replica failed."""
    BEHIND = "behind"
    """By the primary, for the replica had not replayed what must have been seen."""
    NONE_WELL = "none_well"
    """By the primary, for no replica was well."""


class Reading(Protocol):
    """The part of `ReplicaPool` that is needed here."""

    @property
    def opened(self) -> int:
        """How many connections there are now."""

    async def fetch(self, statement: str, *values: object, seen: Position) -> Sequence[Row]:
        """See `ReplicaPool.fetch`."""


class Watching(Protocol):
    """The part of `ReplicaWatch` that is needed here."""

    @property
    def is_well(self) -> bool:
        """Whether the replica may be read from now."""

    @property
    def must_have_seen(self) -> Position:
        """What every read must have seen."""


class Replica:
    """One replica: its connections and its watch, and the look-ups that share a round trip to it."""

    def __init__(self, pool: Reading, watch: Watching) -> None:
        self._pool = pool
        self._watch = watch
        self._find = {
            kind: Coalescer(partial(self._find_all, statement), keys_max=BATCH_KEYS_MAX, batches_max=READS_AT_ONCE_MAX)
            for kind, statement in FIND_USERS.items()
        }
        self.asked = 0

    @property
    def is_well(self) -> bool:
        """Whether it may be read from now; not while every connection is lost, even if the watch has not seen it yet."""
        return self._watch.is_well and self._pool.opened > 0

    async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """Whoever had *identifier* a moment ago.

        Raises:
            ReplicaBehind: It is too late.
            DatabaseUnavailable: It does not answer in time.
            StatementFailed: It lacks what the primary has.
        """
        self.asked += 1
        try:
            return await self._find[identifier.kind](identifier.value)
        finally:
            self.asked -= 1

    async def _find_all(self, statement: str, asked: list[str]) -> dict[str, StoredCredentials]:
        rows = await self._pool.fetch(statement, asked, seen=self._watch.must_have_seen)
        return {row[0]: StoredCredentials(row[1], row[2], may_lag=True) for row in rows}


class ReplicaUsers:
    """`ports.users.NearbyUsers` on replicas: of those that are well, the one that is asked for the fewest users now.

    That is the one whose answers come soonest, and it keeps away from one that has begun to hang before its watch has seen
    it. A read that fails is repeated on the primary, once; whoever is not found is looked for there, for to find nobody is
    what a login is refused by.
    """

    def __init__(self, replicas: Sequence[Replica], *, primary: UserFinder, on_read: Callable[[ReadOutcome], None]) -> None:
        """Nothing is asked yet.

        Args:
            replicas: In any order.
            primary: Finds users on the primary.
            on_read: Hears of each look-up.
        """
        self._replicas = list(replicas)
        self._primary = primary
        self._on_read = on_read

    async def find_nearby(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """See `ports.users.NearbyUsers.find_nearby`."""
        replica = self._least_asked()
        if replica is None:
            outcome = ReadOutcome.NONE_WELL
        else:
            try:
                found = await replica.find(identifier)
            except ReplicaBehind:
                outcome = ReadOutcome.BEHIND
            except (DatabaseUnavailable, StatementFailed):
                outcome = ReadOutcome.FAILED
            else:
                if found is not None:
                    self._on_read(ReadOutcome.REPLICA)
                    return found
                outcome = ReadOutcome.NOBODY
        self._on_read(outcome)
        return await self._primary.find(identifier)

    def _least_asked(self) -> Replica | None:
        least: Replica | None = None
        for replica in self._replicas:
            if (least is None or replica.asked < least.asked) and replica.is_well:
                least = replica
        if least is not None:
            # The next of equals is another one.
            self._replicas.remove(least)
            self._replicas.append(least)
        return least
