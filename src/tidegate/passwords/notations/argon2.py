"""Argon2 (RFC 9106): makes our own hashes and reads everybody's PHC strings."""

import binascii
import hmac
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from argon2.low_level import ARGON2_VERSION, Type

from tidegate.passwords.engine import ENGINE, Argon2Cost, Argon2Input
from tidegate.passwords.notations.fields import UnbearableCost, base64_unpadded, check_digest, check_salt, decimal
from tidegate.passwords.profiles import HashProfile

MEMORY_COST_KIB_MAX: Final = 262_144
"""256 MiB a hash: what libsodium calls "moderate" and 13 times our default. Every hash thread may hold as much at once."""

WORK_KIB_MAX: Final = 2_097_152
"""Memory times passes: 2 GiB written, 1.5 s of one core. The default profile writes 38 MiB, libsodium's "moderate" 768."""

TIME_COST_MAX: Final = 256
"""Passes. Over a few blocks of memory a pass costs more than its memory tells: `WORK_KIB_MAX` alone is too lenient."""

PARALLELISM_MAX: Final = 16
"""Lanes. Django writes 8. They cost no thread here (see `engine.Engine`)."""

SALT_BYTES_MIN: Final = 8
"""RFC 9106 section 3.1; the library refuses less."""

_BLOCKS_PER_LANE_MIN: Final = 8
"""RFC 9106 section 3.1: memory is at least 8 KiB a lane."""

_TYPES: Final = {"argon2id": Type.ID, "argon2i": Type.I, "argon2d": Type.D}
_COSTS: Final = re.compile(r"m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,10})", re.ASCII)
_VERSION_1_0: Final = 16
"""0x10, what a string without a version means (argon2's own decoder: `decode_string`)."""
_VERSIONS: Final = {"v=19": ARGON2_VERSION, "v=16": _VERSION_1_0}

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, repr=False)
class Argon2Work(Generic[_Result]):
    """A hash that is to be computed, alone or in turn with another of the same cost. Has no repr: it holds the password.

    Attributes:
        cost: What it costs.
        given: What is hashed.
        conclude: What the digest means: what `matches` or `hash` of the pool return.
    """

    cost: Argon2Cost
    given: Argon2Input
    conclude: Callable[[bytes], _Result]

    def alone(self) -> _Result:
        """Compute it on the calling thread.

        Raises:
            MemoryError: There is not enough of it.
        """
        (digest,) = ENGINE.digests(self.cost, [self.given])
        return self.conclude(digest)


@dataclass(frozen=True, slots=True)
class Argon2Hash:
    """An Argon2 hash, of whichever type and version."""

    type: Type
    version: int
    memory_cost_kib: int
    time_cost: int
    parallelism: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def verify(self, password: bytes) -> bool:
        """See `StoredHash`."""
        return self.work(password).alone()

    def work(self, password: bytes) -> Argon2Work[bool]:
        """What `verify` is to compute."""
        cost = Argon2Cost(self.type.value, self.version, self.memory_cost_kib, self.time_cost, self.parallelism)
        return Argon2Work(cost, Argon2Input(password, self.salt, len(self.digest)), self._is_digest)

    def _is_digest(self, digest: bytes) -> bool:
        return hmac.compare_digest(digest, self.digest)


def hash_argon2id(password: bytes, profile: HashProfile) -> str:
    """Hash *password* under *profile*, with a salt of its own.

    Args:
        password: In UTF-8, normalised.
        profile: What it may cost.

    Returns:
        A PHC string; of one profile all are of one length.

    Raises:
        MemoryError: There is not enough of it.
    """
    return argon2id_work(password, profile).alone()


def argon2id_work(password: bytes, profile: HashProfile) -> Argon2Work[str]:
    """What `hash_argon2id` is to compute."""
    salt = os.urandom(profile.salt_len)

    def phc_string(digest: bytes) -> str:
        return f"{argon2id_prefix(profile)}{_unpadded(salt)}${_unpadded(digest)}"

    return Argon2Work(argon2id_cost(profile), Argon2Input(password, salt, profile.hash_len), phc_string)


def argon2id_cost(profile: HashProfile) -> Argon2Cost:
    """What a hash of *profile* costs."""
    return Argon2Cost(Type.ID.value, ARGON2_VERSION, profile.memory_cost_kib, profile.time_cost, profile.parallelism)


def argon2id_prefix(profile: HashProfile) -> str:
    """How every PHC string of *profile* begins, up to its salt."""
    cost = f"m={profile.memory_cost_kib},t={profile.time_cost},p={profile.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}$"


def argon2id_length(profile: HashProfile) -> int:
    """Of every PHC string of *profile*, in characters: four of Base64, unpadded, for three bytes."""
    salt, digest = (-(-4 * size // 3) for size in (profile.salt_len, profile.hash_len))
    return len(argon2id_prefix(profile)) + salt + len("$") + digest


def read_argon2(fields: Sequence[str]) -> Argon2Hash:
    """Read a PHC string split at its dollars, without what stands before the first.

    The same fields stand behind `argon2$` in Django's notation.

    Raises:
        ValueError: Malformed, or beyond a bound.
    """
    name, *versions, costs, salt, digest = fields
    matched = _COSTS.fullmatch(costs)
    if name not in _TYPES or matched is None or len(versions) > 1:
        raise ValueError("not Argon2")
    memory_cost_kib, time_cost, parallelism = map(decimal, matched.groups())
    if (
        not 1 <= parallelism <= PARALLELISM_MAX
        or not _BLOCKS_PER_LANE_MIN * parallelism <= memory_cost_kib <= MEMORY_COST_KIB_MAX
        or not 1 <= time_cost <= TIME_COST_MAX
        or memory_cost_kib * time_cost > WORK_KIB_MAX
    ):
        raise UnbearableCost
    version = _VERSION_1_0
    if versions:
        if versions[0] not in _VERSIONS:
            raise ValueError("unknown version of Argon2")
        version = _VERSIONS[versions[0]]
    return Argon2Hash(
        type=_TYPES[name],
        version=version,
        memory_cost_kib=memory_cost_kib,
        time_cost=time_cost,
        parallelism=parallelism,
        salt=check_salt(base64_unpadded(salt), bytes_min=SALT_BYTES_MIN),
        digest=check_digest(base64_unpadded(digest)),
    )


def _unpadded(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii").rstrip("=")
