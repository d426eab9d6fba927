"""The named profiles are what their sources say, and we verify what we make."""

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type, hash_secret

from tidegate.passwords.notations import STORED_LENGTH_MAX, parse
from tidegate.passwords.notations.argon2 import argon2id_length, argon2id_prefix, hash_argon2id
from tidegate.passwords.profiles import DEFAULT_PROFILE, PROFILES, HashProfile

PROFILE_NAMES = sorted(PROFILES)


def test_the_default_is_what_owasp_names_first() -> None:
    assert HashProfile("owasp-19456", 19_456, 2, parallelism=1, hash_len=32, salt_len=16) == DEFAULT_PROFILE


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_every_profile_is_found_by_its_own_name(name: str) -> None:
    assert PROFILES[name].name == name


@pytest.mark.parametrize("name", PROFILE_NAMES)
def test_what_a_profile_makes_is_verified_by_us_and_by_the_library(name: str) -> None:
    """A profile beyond the bounds of `parse` would lock everybody out who registers under it."""
    made = hash_argon2id(b"correct horse", PROFILES[name])
    stored = parse(made)
    assert stored is not None
    assert stored.verify(b"correct horse")
    assert not stored.verify(b"correct horsf")
    assert PasswordHasher().verify(made, b"correct horse")
    assert len(made) == argon2id_length(PROFILES[name]) <= STORED_LENGTH_MAX
    parameters = extract_parameters(made)
    assert (parameters.memory_cost, parameters.time_cost) == (PROFILES[name].memory_cost_kib, PROFILES[name].time_cost)
    assert parameters.parallelism == PROFILES[name].parallelism


@pytest.mark.parametrize("parallelism", [1, 2, 4])
@pytest.mark.parametrize(("hash_len", "salt_len"), [(16, 8), (32, 16), (33, 17), (64, 64)])
def test_our_string_is_the_one_that_the_library_makes(
    monkeypatch: pytest.MonkeyPatch, parallelism: int, hash_len: int, salt_len: int
) -> None:
    """One lane and several go two ways to the same library, and both must end where it ends itself."""
    profile = HashProfile("tiny", 64, 1, parallelism, hash_len, salt_len)
    monkeypatch.setattr("os.urandom", lambda size: bytes(range(size)))
    expected = hash_secret(b"x", bytes(range(salt_len)), 1, 64, parallelism, hash_len, Type.ID).decode()
    assert hash_argon2id(b"x", profile) == expected
    assert expected.startswith(argon2id_prefix(profile))
    assert len(expected) == argon2id_length(profile)


def test_no_two_hashes_share_a_salt() -> None:
    profile = HashProfile("tiny", 8, 1)
    assert len({hash_argon2id(b"x", profile) for _ in range(100)}) == 100
