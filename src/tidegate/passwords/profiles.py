"""The named parameter sets for new password hashes, and where each comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

IN_TURN_MAX: Final = 2
"""Hashes of one lane that a thread computes in turn. With two, one waits for memory while the other computes; a third only
competes with them for the cache (measured: 1.20, 1.05 and 0.95 times the speed of one, for 2, 3 and 4; ADR 0012)."""


@dataclass(frozen=True, slots=True)
class HashProfile:
    """What one Argon2id hash costs (RFC 9106 section 3.1).

    Attributes:
        name: As in the settings.
        memory_cost_kib: Memory of one hash, in KiB.
        time_cost: Passes over that memory.
        parallelism: Lanes. They run one after another on one hash thread, so more of them gain a server nothing.
        hash_len: Length of the hash, in bytes.
        salt_len: Length of the salt, in bytes; RFC 9106 section 4 asks for 16.
    """

    name: str
    memory_cost_kib: int
    time_cost: int
    parallelism: int = 1
    hash_len: int = 32
    salt_len: int = 16

    @property
    def thread_bytes(self) -> int:
        """Memory that a hash thread needs for hashes of this profile, in bytes; argon2-cffi makes do with half of it."""
        return self.memory_cost_kib * 1_024 * (IN_TURN_MAX if self.parallelism == 1 else 1)


OWASP_19456: Final = HashProfile("owasp-19456", memory_cost_kib=19_456, time_cost=2)
"""OWASP Password Storage Cheat Sheet, Argon2id, the setting it names first (19 MiB, 2 passes); meets ASVS v5.0.0-11.4.2."""

OWASP_47104: Final = HashProfile("owasp-47104", memory_cost_kib=47_104, time_cost=1)
"""The same page lists it, and the three below, as equally strong: 46 MiB, 1 pass. The most memory, for most machines the
slowest of the five."""

OWASP_12288: Final = HashProfile("owasp-12288", memory_cost_kib=12_288, time_cost=3)
"""12 MiB, 3 passes; 1.35 to 1.6 times as fast as the default where 12 MiB stay in cache and 19 do not."""

OWASP_9216: Final = HashProfile("owasp-9216", memory_cost_kib=9_216, time_cost=4)
"""9 MiB, 4 passes."""

OWASP_7168: Final = HashProfile("owasp-7168", memory_cost_kib=7_168, time_cost=5)
"""7 MiB, 5 passes: the least memory that OWASP accepts."""

RFC9106_65536: Final = HashProfile("rfc9106-65536", memory_cost_kib=65_536, time_cost=3, parallelism=4)
"""RFC 9106 section 4, the second recommended option (64 MiB, 3 passes, 4 lanes); about 8 times the price of the default."""

DEFAULT_PROFILE: Final = OWASP_19456

PROFILES: Final[Mapping[str, HashProfile]] = MappingProxyType(
    {profile.name: profile for profile in (OWASP_19456, OWASP_47104, OWASP_12288, OWASP_9216, OWASP_7168, RFC9106_65536)}
)
