"""Argon2 (RFC 9106): makes our own hashes and reads everybody's PHC strings."""

import binascii
import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi, hash_secret_raw

from tidegate.passwords.notations.fields import base64_unpadded, check_digest, check_salt, decimal
from tidegate.passwords.profiles import HashProfile

MEMORY_COST_KIB_MAX: Final = 262_144
"""256 MiB a hash: what libsodium calls "moderate" and 13 times our default. Every hash thread may hold as much at once."""

WORK_KIB_MAX: Final = 2_097_152
"""Memory times passes: 2 GiB written, 1.5 s of one core. The default profile writes 38 MiB, libsodium's "moderate" 768."""

TIME_COST_MAX: Final = 256
"""Passes. Over a few blocks of memory a pass costs more than its memory tells: `WORK_KIB_MAX` alone is too lenient."""

PARALLELISM_MAX: Final = 16
"""Lanes. Django writes 8. They cost no thread here (see `_raw`)."""

SALT_BYTES_MIN: Final = 8
"""RFC 9106 section 3.1; the library refuses less."""

_BLOCKS_PER_LANE_MIN: Final = 8
"""RFC 9106 section 3.1: memory is at least 8 KiB a lane."""

_TYPES: Final = {"argon2id": Type.ID, "argon2i": Type.I, "argon2d": Type.D}
_COSTS: Final = re.compile(r"m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,10})", re.ASCII)
_VERSION_1_0: Final = 16
"""0x10, what a string without a version means (argon2's own decoder: `decode_string`)."""
_VERSIONS: Final = {"v=19": ARGON2_VERSION, "v=16": _VERSION_1_0}
_MEMORY_ALLOCATION_ERROR: Final = -22
"""ARGON2_MEMORY_ALLOCATION_ERROR in argon2.h."""


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
        return hmac.compare_digest(_raw(password, self, len(self.digest)), self.digest)


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
    salt = os.urandom(profile.salt_len)
    cost = Argon2Hash(
        Type.ID, ARGON2_VERSION, profile.memory_cost_kib, profile.time_cost, profile.parallelism, salt, digest=b""
    )
    return f"{argon2id_prefix(profile)}{_unpadded(salt)}${_unpadded(_raw(password, cost, profile.hash_len))}"


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
        raise ValueError("too dear")
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


def _raw(password: bytes, cost: Argon2Hash, digest_len: int) -> bytes:
    """The Argon2 output of *password* with the parameters and the salt of *cost*, on the calling thread alone.

    The library would start a thread for every lane, so that one hash of Django's (8 lanes) took every core of the node.
    Several lanes therefore go through its direct binding, which tells lanes from threads; the output is the same.
    """
    if cost.parallelism > 1:
        return _raw_in_one_thread(password, cost, digest_len)
    try:
        return hash_secret_raw(
            secret=password,
            salt=cost.salt,
            time_cost=cost.time_cost,
            memory_cost=cost.memory_cost_kib,
            parallelism=cost.parallelism,
            hash_len=digest_len,
            type=cost.type,
            version=cost.version,
        )
    except HashingError as error:
        if str(error) == error_to_str(_MEMORY_ALLOCATION_ERROR):
            raise MemoryError from error
        raise


def _raw_in_one_thread(password: bytes, cost: Argon2Hash, digest_len: int) -> bytes:
    out = ffi.new("uint8_t[]", digest_len)
    secret = ffi.new("uint8_t[]", password)  # these two live as long as this frame: the context only points at them
    salt = ffi.new("uint8_t[]", cost.salt)
    context = ffi.new(
        "argon2_context *",
        {
            "version": cost.version,
            "out": out,
            "outlen": digest_len,
            "pwd": secret,
            "pwdlen": len(password),
            "salt": salt,
            "saltlen": len(cost.salt),
            "secret": ffi.NULL,
            "secretlen": 0,
            "ad": ffi.NULL,
            "adlen": 0,
            "t_cost": cost.time_cost,
            "m_cost": cost.memory_cost_kib,
            "lanes": cost.parallelism,
            "threads": 1,
            "allocate_cbk": ffi.NULL,
            "free_cbk": ffi.NULL,
            "flags": 0,  # ARGON2_DEFAULT_FLAGS
        },
    )
    failure = core(context, cost.type.value)
    if failure == _MEMORY_ALLOCATION_ERROR:
        raise MemoryError
    if failure:
        raise HashingError(error_to_str(failure))
    return bytes(ffi.buffer(out, digest_len))


def _unpadded(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii").rstrip("=")
