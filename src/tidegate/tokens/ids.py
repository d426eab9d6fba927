"""Makes the ids of users and sessions."""

import os
import time
from collections.abc import Callable
from uuid import UUID


class RandomIds:
    """Implements `ports.ids.Ids`.

    Args:
        now: The clock, seconds since 1970.
        random_octets: Gives so many octets from a cryptographic source.
    """

    def __init__(self, *, now: Callable[[], float] = time.time, random_octets: Callable[[int], bytes] = os.urandom) -> None:
        self._now = now
        self._random_octets = random_octets

    def user_id(self) -> UUID:
        """Return a UUIDv4 (RFC 9562 section 5.4)."""
        return UUID(bytes=self._random_octets(16), version=4)

    coupon_id = campaign_id = user_id

    def session_id(self) -> UUID:
        """Return a UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds since 1970, then 74 random bits.

        Two of one millisecond are in no order: the index needs none.
        """
        milliseconds = int(self._now() * 1000) & 0xFFFF_FFFF_FFFF
        random = int.from_bytes(self._random_octets(10), "big")
        above, below = (random >> 62) & 0xFFF, random & 0x3FFF_FFFF_FFFF_FFFF
        return UUID(int=milliseconds << 80 | 7 << 76 | above << 64 | 0b10 << 62 | below)
