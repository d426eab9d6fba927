"""A hash pool without hashes: what `PasswordsContract` promises, at once and by reading."""

from typing import Final
from uuid import UUID

from tidegate.domain.errors import HashPoolSaturated
from tidegate.domain.lanes import Lane

SOMEBODY: Final = UUID(int=1)
"""Whose password it is, where that does not matter."""

_CURRENT = "fake$"
_OUTDATED = "fake-outdated$"


class InstantPasswords:
    """Implements `ports.passwords.Passwords` for tests of use cases.

    Attributes:
        is_saturated: Everything that would hash is refused.
        is_busy: No thread is free, though there are places.
        hashed: Every password that was hashed, in order.
        compared: How many comparisons there were.
        imitated: How many imitations.
        refused_besides: How many were refused without being asked about.
        lanes: In which lane each of them was asked for.
    """

    def __init__(self, *, is_saturated: bool = False, is_busy: bool = False) -> None:
        self.is_saturated = is_saturated
        self.is_busy = is_busy
        self.hashed: list[str] = []
        self.compared = 0
        self.imitated = 0
        self.refused_besides = 0
        self.lanes: list[Lane] = []

    @staticmethod
    def current(password: str) -> str:
        """What `hash` returns for *password*."""
        return _CURRENT + password

    @staticmethod
    def outdated(password: str) -> str:
        """A hash of *password* under another profile."""
        return _OUTDATED + password

    async def matches(
        self,
        password: str,
        password_hash: str,
        *,
        user_id: UUID,
        lane: Lane,
    ) -> bool:
        """See `ports.passwords.Passwords`."""
        if not password_hash.startswith((_CURRENT, _OUTDATED)):
            return False
        self._refuse_if_saturated(lane)
        self.compared += 1
        return password_hash in {self.current(password), self.outdated(password)}

    def refuse_if_full(self, lane: Lane, *, besides: int = 0) -> None:
        """See `ports.passwords.Passwords`."""
        self.refused_besides += besides
        if self.is_saturated or (self.is_busy and lane is Lane.REHASH):
            raise HashPoolSaturated

    async def hash(self, password: str, *, lane: Lane) -> str:
        """See `ports.passwords.Passwords`."""
        self._refuse_if_saturated(lane)
        self.hashed.append(password)
        return self.current(password)

    def is_outdated(self, password_hash: str) -> bool:
        """See `ports.passwords.Passwords`."""
        return not password_hash.startswith(_CURRENT)

    def is_idle(self) -> bool:
        """See `ports.passwords.Passwords`."""
        return not (self.is_saturated or self.is_busy)

    async def imitate(self, *, lane: Lane) -> None:
        """See `ports.passwords.Passwords`."""
        self._refuse_if_saturated(lane)
        self.imitated += 1

    def _refuse_if_saturated(self, lane: Lane) -> None:
        self.refuse_if_full(lane)
        self.lanes.append(lane)
