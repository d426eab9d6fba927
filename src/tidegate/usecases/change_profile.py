"""Lets a user correct what their profile says of them."""

from dataclasses import dataclass
from functools import partial

from tidegate.domain.claims import AccessClaims
from tidegate.domain.errors import FaultCollector, InvalidAccessToken
from tidegate.domain.users import Profile, ProfileChange, read_birth_date, read_full_name
from tidegate.ports.clock import Clock
from tidegate.ports.profiles import Profiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeProfile:
    """One change of a profile. Identifiers stay: a new email or phone number wants a proof that nobody can give yet."""

    profiles: Profiles
    clock: Clock

    async def __call__(self, claims: AccessClaims, *, full_name: str | None, birthdate: str | None) -> Profile:
        """Store what is given and return the profile as it is then.

        Raises:
            InvalidRequest: With every field at fault; nothing was stored.
            InvalidAccessToken: The user is gone.
        """
        faults = FaultCollector()
        today = self.clock.now().date()
        change = ProfileChange(
            full_name=faults.collect(read_full_name, full_name) if full_name else None,
            birth_date=faults.collect(partial(read_birth_date, today=today), birthdate) if birthdate else None,
        )
        faults.raise_if_any()
        profile = await self.profiles.change_profile(claims.user_id, change)
        if profile is None:
            raise InvalidAccessToken
        return profile
