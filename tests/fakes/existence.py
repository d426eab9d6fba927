"""An existence filter that is never wrong: what `ExistenceFilterContract` promises, without memory that is shared."""

from collections.abc import Sequence

from tidegate.domain.users import LoginIdentifier


class ExactExistence:
    """Implements `ports.users.ExistenceFilter`; a test says whether it is loaded and decides, and who has the lock."""

    NOTE = 7

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.is_loaded = True
        self.decides = False
        self.busy_for = 0
        """How many calls of `add` find the lock taken."""

    def might_contain(self, identifier: LoginIdentifier) -> bool:
        return not self.is_loaded or identifier.value in self.names

    def lacks(self, identifier: LoginIdentifier) -> bool:
        return self.decides and self.is_loaded and identifier.value not in self.names

    def add(self, identifiers: Sequence[LoginIdentifier]) -> int | None:
        if self.busy_for > 0:
            self.busy_for -= 1
            return None
        self.names.update(identifier.value for identifier in identifiers)
        return self.NOTE
