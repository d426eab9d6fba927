"""The existence filter as the API asks it, some microseconds a time."""

from collections.abc import Sequence

from tidegate.domain.users import LoginIdentifier
from tidegate.existence.memory import CURRENT, DECIDES_UNTIL, FED_UNTIL, NAMES, NEXT, FilterMemory, now_ns

NOWHERE = 0
"""A note that no filter has."""


class SharedFilter:
    """`ports.users.ExistenceFilter`, on the memory that the node's processes share."""

    def __init__(self, memory: FilterMemory) -> None:
        self._memory = memory
        self._words = memory.words

    def might_contain(self, identifier: LoginIdentifier) -> bool:
        """See `ports.users.ExistenceFilter.might_contain`."""
        current = self._words[CURRENT]
        if not current or self._memory.holds(current, identifier.value.encode()):
            return True
        # Replaced while we looked, so we may have seen it emptied.
        return self._words[CURRENT] != current

    def lacks(self, identifier: LoginIdentifier) -> bool:
        """See `ports.users.ExistenceFilter.lacks`."""
        # Read before the filter and compared after it: one lease covers the whole of the look. A lease that was lost and
        # won again meanwhile would not do, for the name may have come in between.
        until_ns = self._words[DECIDES_UNTIL]
        if not until_ns:
            return False
        current = self._words[CURRENT]
        if not current or self._memory.holds(current, identifier.value.encode()):
            return False
        return self._words[CURRENT] == current and now_ns() < until_ns

    def add(self, identifiers: Sequence[LoginIdentifier]) -> int | None:
        """See `ports.users.ExistenceFilter.add`."""
        memory = self._memory
        if not memory.try_lock():
            return None
        try:
            names = [identifier.value.encode() for identifier in identifiers]
            noted_in = NOWHERE
            # The one that is being gathered comes last: whoever is in it is in both, and it is the one that will count.
            for filter_ in (self._words[CURRENT], self._words[NEXT]):
                if filter_:
                    memory.insert(filter_, names)
                    noted_in = memory.note_of(filter_)
            return noted_in
        finally:
            memory.unlock()

    @property
    def names(self) -> int:
        """How many names are in it, about."""
        return self._words[NAMES]

    @property
    def is_loaded(self) -> bool:
        """Whether it has been gathered; before, everything might be in it."""
        return self._words[CURRENT] != 0

    @property
    def decides(self) -> bool:
        """Whether its "no" is final now."""
        return now_ns() < self._words[DECIDES_UNTIL]

    @property
    def fed_until_ns(self) -> int:
        """Whoever was added before this moment of `memory.now_ns`, on whichever node, is in it; 0: unknown."""
        return self._words[FED_UNTIL]
