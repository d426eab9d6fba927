"""The profiles that this process has read lately."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

from tidegate.domain.users import Profile, ProfileChange
from tidegate.ports.profiles import Profiles
from tidegate.profiles.stamps import Stamps

REMEMBERED_S_MAX: Final = 5.0
"""How late what nobody tells of may show: last_login, which a worker writes some time after the login in any case, and what
somebody changes in the database by hand."""


class _Remembered(NamedTuple):
    """A profile, and under which circumstances it was read."""

    profile: Profile
    stamp: int
    epoch: int
    until: float


class RememberedProfiles:
    """`ports.profiles.Profiles` that remembers what another one answered.

    A remembered profile is told again only if, since before it was asked for,
    - nobody on this node changed it: the stamp in shared memory, renewed before a change is answered, is the same;
    - nobody elsewhere changed it: the feed of changes has not told of one, has not been interrupted, and is trusted now;
    - no more than `REMEMBERED_S_MAX` have passed.
    """

    def __init__(
        self,
        source: Profiles,
        *,
        stamps: Stamps,
        is_fed: Callable[[], bool],
        monotonic: Callable[[], float],
        remembered_max: int,
    ) -> None:
        """Begin with nothing.

        Args:
            source: Asked for whatever is not remembered.
            stamps: Shared by the processes of the node.
            is_fed: Whether what other nodes change is heard of now.
            monotonic: In seconds.
            remembered_max: How many profiles; each takes about 1 KB.
        """
        self._source = source
        self._stamps = stamps
        self._is_fed = is_fed
        self._monotonic = monotonic
        self._remembered_max = remembered_max
        self._remembered: OrderedDict[UUID, _Remembered] = OrderedDict()
        self._epoch = 0

    async def profile(self, user_id: UUID) -> Profile | None:
        """See `ports.profiles.Profiles.profile`."""
        stamp, epoch, now = self._stamps.of(user_id), self._epoch, self._monotonic()
        found = self._remembered.get(user_id)
        if found is not None:
            if found.stamp == stamp and found.epoch == epoch and now < found.until and self._is_fed():
                self._remembered.move_to_end(user_id)
                return found.profile
            del self._remembered[user_id]
        profile = await self._source.profile(user_id)
        if profile is not None:
            # With what held before it was read: a change meanwhile makes it useless instead of wrong.
            self._remembered[user_id] = _Remembered(profile, stamp, epoch, now + REMEMBERED_S_MAX)
            if len(self._remembered) > self._remembered_max:
                self._remembered.popitem(last=False)
        return profile

    async def change_profile(self, user_id: UUID, change: ProfileChange) -> Profile | None:
        """See `ports.profiles.Profiles.change_profile`."""
        try:
            return await self._source.change_profile(user_id, change)
        finally:  # also where it failed: the line may have been cut behind the commit
            self._stamps.renew(user_id)

    async def forget(self, user_id: UUID) -> None:
        """See `ports.profiles.Profiles.forget`."""
        try:
            await self._source.forget(user_id)
        finally:
            self._stamps.renew(user_id)

    def heard(self, user_id: UUID) -> None:
        """Take note that *user_id* was changed, on whichever node."""
        self._stamps.renew(user_id)

    def interrupted(self) -> None:
        """Take note that changes may have been made of which nobody told us."""
        self._epoch += 1
