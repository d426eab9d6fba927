"""The profiles that any node has read lately, in Valkey."""

import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

import msgspec

from tidegate.cache.client import CacheClient
from tidegate.cache.connection import CacheAway
from tidegate.domain.users import Profile, ProfileChange
from tidegate.ports.profiles import Profiles

SHARED_S_MAX: Final = 10.0
"""How late what nobody tells of may show, such as last_login: twice what a process remembers."""

_JITTER_SHARE_MAX: Final = 0.2
"""Drawn off that time, so that what was read in one rush is not read again in one."""

_STAMP_S: Final = 600
"""Longer than any profile under it lives. One that is gone sooner costs a look at the database, no more."""

_STAMP_BYTES: Final = 16

_DECODER: Final = msgspec.json.Decoder(Profile)


class SharedProfiles:
    """`ports.profiles.Profiles` that keeps in Valkey what another one answered.

    Each user has a stamp there, 16 random bytes, and a profile is kept together with the stamp that stood before it was
    read from the database. A change replaces the stamp before it is answered; so what was read before a change is never
    taken for what stands after it, whichever node keeps it and however late. An emptied Valkey has neither, and no stamp is
    ever made twice. Where Valkey is away the database is asked.

    A node that cannot reach Valkey cannot replace the stamp. The others then do, as soon as the feed tells them of the
    change (`heard`), and one that has lost the feed leaves Valkey alone.
    """

    def __init__(self, source: Profiles, *, cache: CacheClient, is_fed: Callable[[], bool]) -> None:
        """Nothing is asked yet.

        Args:
            source: Asked for whatever is not in Valkey.
            cache: Valkey.
            is_fed: Whether what other nodes change is heard of now.
        """
        self._source = source
        self._cache = cache
        self._is_fed = is_fed

    async def profile(self, user_id: UUID) -> Profile | None:
        """See `ports.profiles.Profiles.profile`."""
        if not self._is_fed():
            return await self._source.profile(user_id)
        try:
            stamp, kept = await self._kept(user_id)
        except CacheAway:
            return await self._source.profile(user_id)
        if kept is not None:
            return kept
        profile = await self._source.profile(user_id)
        if profile is not None:
            self._keep(profile, stamp)
        return profile

    async def change_profile(self, user_id: UUID, change: ProfileChange) -> Profile | None:
        """See `ports.profiles.Profiles.change_profile`."""
        try:
            return await self._source.change_profile(user_id, change)
        finally:  # also where it failed: the line may have been cut behind the commit
            await self.forget(user_id)

    async def forget(self, user_id: UUID) -> None:
        """See `ports.profiles.Profiles.forget`."""
        with suppress(CacheAway):
            await self._cache.ask(b"SET", _stamp_key(user_id), secrets.token_bytes(_STAMP_BYTES), b"EX", _STAMP_S)

    def heard(self, user_id: UUID) -> None:
        """Take note that *user_id* was changed, perhaps by a node that cannot reach Valkey."""
        with suppress(CacheAway):
            self._cache.tell(b"SET", _stamp_key(user_id), secrets.token_bytes(_STAMP_BYTES), b"EX", _STAMP_S)

    def interrupted(self) -> None:
        """Nothing to do: what changed meanwhile was told to Valkey by whoever changed it."""

    async def _kept(self, user_id: UUID) -> tuple[bytes, Profile | None]:
        """The stamp of *user_id*, and the profile that is kept under it.

        Raises:
            CacheAway: Valkey does not answer.
        """
        stamp_key = _stamp_key(user_id)
        found = await self._cache.ask(b"MGET", stamp_key, _profile_key(user_id))
        stamp, kept = found if isinstance(found, list) else (None, None)
        if not isinstance(stamp, bytes):
            made = secrets.token_bytes(_STAMP_BYTES)
            earlier = await self._cache.ask(b"SET", stamp_key, made, b"NX", b"GET", b"EX", _STAMP_S)
            return earlier if isinstance(earlier, bytes) else made, None
        if not isinstance(kept, bytes) or not kept.startswith(stamp):
            return stamp, None
        try:
            return stamp, _DECODER.decode(memoryview(kept)[len(stamp) :])
        except msgspec.MsgspecError:  # of another release
            return stamp, None

    def _keep(self, profile: Profile, stamp: bytes) -> None:
        kept_ms = int(SHARED_S_MAX * 1000 * (1 - random.uniform(0, _JITTER_SHARE_MAX)))  # noqa: S311 - spreads load
        with suppress(CacheAway):
            self._cache.tell(b"SET", _profile_key(profile.user_id), stamp + msgspec.json.encode(profile), b"PX", kept_ms)


def _stamp_key(user_id: UUID) -> bytes:
    # The braces keep both keys of a user on one node of a cluster. All releases share it: each outdates what others keep.
    return b"tidegate:profile:{%b}:stamp" % user_id.hex.encode()


def _profile_key(user_id: UUID) -> bytes:
    # The number changes with what a profile is: an older release would show one without coupons.
    return b"tidegate:profile2:{%b}" % user_id.hex.encode()
