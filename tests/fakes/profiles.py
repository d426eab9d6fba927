"""A database of profiles of which a test says when it answers, and when its line breaks."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from tests.fakes.users import InMemoryUsers
from tidegate.domain.users import Profile, ProfileChange


class CutOffError(Exception):
    """The line broke behind the commit."""


@dataclass
class Source:
    """Implements `ports.profiles.Profiles`, and counts what it is asked.

    Attributes:
        users: Whose profiles.
        asked: How many profiles were asked for.
        is_cut_off: Changes are made, but nobody hears that they were.
        held_back: What was read is told when this is set.
        has_read: Set when something was read.
    """

    users: InMemoryUsers = field(default_factory=InMemoryUsers)
    asked: int = 0
    is_cut_off: bool = False
    held_back: asyncio.Event | None = None
    has_read: asyncio.Event = field(default_factory=asyncio.Event)

    async def profile(self, user_id: UUID) -> Profile | None:
        self.asked += 1
        found = await self.users.profile(user_id)
        self.has_read.set()
        if self.held_back is not None:
            await self.held_back.wait()
        return found

    async def change_profile(self, user_id: UUID, change: ProfileChange) -> Profile | None:
        changed = await self.users.change_profile(user_id, change)
        if self.is_cut_off:
            raise CutOffError
        return changed

    async def forget(self, user_id: UUID) -> None:
        pass
