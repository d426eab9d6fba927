"""What users may see and change of themselves."""

from typing import Protocol
from uuid import UUID

from tidegate.domain.users import Profile, ProfileChange


class Profiles(Protocol):
    """What users may see and change of themselves.

    A profile that was changed here, and the change acknowledged, is told no more as it was before, by no process of the
    node; other nodes follow within 1 s. `last_login` may be some seconds late.
    """

    async def profile(self, user_id: UUID) -> Profile | None:
        """What *user_id* may see of themselves, or None."""

    async def change_profile(self, user_id: UUID, change: ProfileChange) -> Profile | None:
        """Apply *change* and return the profile as it is then; None if there is no such user."""

    async def forget(self, user_id: UUID) -> None:
        """Tell no more what was read of *user_id* before now: something else has changed what they see, or may have."""
