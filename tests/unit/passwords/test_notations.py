"""Hashes that others stored verify here; what is malformed or too dear matches nothing and is never computed."""

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from argon2.exceptions import HashingError
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.passwords.notations import STORED_LENGTH_MAX, argon2, parse, pbkdf2, scrypt, why_refused
from tidegate.passwords.notations import bcrypt as bcrypt_notation
from tidegate.passwords.notations.argon2 import Argon2Hash

VECTORS: list[dict[str, str]] = json.loads(
    (Path(__file__).parents[2] / "data" / "passwords" / "vectors.json").read_text(encoding="utf-8")
)

SALT = "MDEyMzQ1Njc4OWFiY2RlZg"
SALT_PADDED = SALT + "=="
DIGEST = "A" * 43
DIGEST_PADDED = DIGEST + "="
DIGEST_64 = "A" * 86
BCRYPT_TAIL = "abcdefghijklmnopqrstuu2c1e4vZoCxDVRU9N6VCSSmNg4cQa1Ve"


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{v['notation']} by {v['made_with']}" for v in VECTORS])
def test_what_others_stored_matches_its_password_and_no_other(vector: dict[str, str]) -> None:
    stored = parse(vector["stored"])
    assert stored is not None
    assert stored.verify(vector["password"].encode()) is True
    assert stored.verify(vector["password"].encode()[1:]) is False
    assert stored.verify(b"") is False


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{v['notation']} by {v['made_with']}" for v in VECTORS])
def test_a_hash_never_shows_in_a_repr(vector: dict[str, str]) -> None:
    """Logs and tracebacks print reprs. What may show is the cost."""
    stored = parse(vector["stored"])
    for part in vector["stored"].split("$")[-2:]:
        assert len(part) < 6 or part not in repr(stored)


TOO_DEAR = [
    f"$argon2id$v=19$m={argon2.MEMORY_COST_KIB_MAX + 1},t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t={argon2.TIME_COST_MAX + 1},p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=262144,t=9,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=4096,t=1,p={argon2.PARALLELISM_MAX + 1}${SALT}${DIGEST}",
    f"$argon2id$v=19$m=4294967295,t=1,p=1${SALT}${DIGEST}",
    f"$2b${bcrypt_notation.COST_MAX + 1}${BCRYPT_TAIL}",
    f"$2b$31${BCRYPT_TAIL}",
    f"bcrypt_sha256$$2b$15${BCRYPT_TAIL}",
    f"$scrypt$ln=19,r=8,p=1${SALT}${DIGEST}",
    f"$scrypt$ln=17,r=8,p=5${SALT}${DIGEST}",
    f"$scrypt$ln=1,r=1,p={scrypt.P_MAX + 1}${SALT}${DIGEST}",
    f"$scrypt$ln=4000000000,r=8,p=1${SALT}${DIGEST}",
    f"scrypt$1048576$seasalt$8$1${DIGEST_PADDED}",
    f"$pbkdf2-sha256${pbkdf2.ITERATIONS_MAX + 1}${SALT}${DIGEST}",
    f"$pbkdf2${pbkdf2.WORK_MAX // 4 + 1}${SALT}${DIGEST_64}",
    f"pbkdf2_sha256$2000001$seasalt${DIGEST_PADDED}",
    f"keycloak$pbkdf2-sha512$2000001${SALT_PADDED}${DIGEST_PADDED}",
]


@pytest.mark.parametrize("stored", TOO_DEAR)
def test_a_cost_beyond_the_bound_is_not_even_read(stored: str) -> None:
    assert parse(stored) is None
    assert why_refused(stored) in {"unbearable_cost", "malformed"}


JUST_BEARABLE = [
    f"$argon2id$v=19$m={argon2.MEMORY_COST_KIB_MAX},t=8,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t={argon2.TIME_COST_MAX},p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=4096,t=1,p={argon2.PARALLELISM_MAX}${SALT}${DIGEST}",
    f"$2b${bcrypt_notation.COST_MAX}${BCRYPT_TAIL}",
    f"$scrypt$ln=18,r=8,p=1${SALT}${DIGEST}",
    f"$scrypt$ln=17,r=8,p=4${SALT}${DIGEST}",
    f"$scrypt$ln=1,r=1,p={scrypt.P_MAX}${SALT}${DIGEST}",
    f"$pbkdf2-sha256${pbkdf2.ITERATIONS_MAX}${SALT}${DIGEST}",
    f"$pbkdf2${pbkdf2.WORK_MAX // 4}${SALT}${DIGEST_64}",
    # What OWASP, Django, passlib, libsodium and Keycloak write today.
    f"$argon2id$v=19$m=47104,t=1,p=1${SALT}${DIGEST}",
    f"argon2$argon2id$v=19$m=102400,t=2,p=8${SALT}${DIGEST}",
    f"$argon2id$v=19$m=262144,t=3,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=65536,t=3,p=4${SALT}${DIGEST}",
    f"$scrypt$ln=16,r=8,p=1${SALT}${DIGEST}",
    f"scrypt$16384$seasalt$8$5${DIGEST_PADDED}",
    f"pbkdf2_sha256$1500000$seasalt${DIGEST_PADDED}",
    f"keycloak$pbkdf2$1300000${SALT_PADDED}${DIGEST_PADDED}",
    f"keycloak$pbkdf2-sha512$210000${SALT_PADDED}${DIGEST_64}==",
]


@pytest.mark.parametrize("stored", JUST_BEARABLE)
def test_a_cost_at_the_bound_or_in_use_elsewhere_is_read(stored: str) -> None:
    assert parse(stored) is not None
    assert why_refused(stored) is None


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("correct horse battery", "unknown_notation"),
        ("$1$abcdefgh$G//4keteveJp0qb8z2DxG/", "unknown_notation"),
        (f"$2b$31${BCRYPT_TAIL}", "unbearable_cost"),
        (f"pbkdf2_sha256$2000001$seasalt${DIGEST_PADDED}", "unbearable_cost"),
        (f"$argon2id$v=19$m=262145,t=1,p=1${SALT}${DIGEST}", "unbearable_cost"),
        (f"$scrypt$ln=30,r=8,p=1${SALT}${DIGEST}", "unbearable_cost"),
        (f"$2b$05${BCRYPT_TAIL[:-1]}", "malformed"),
        ("$argon2id", "malformed"),
        ("$" * 513, "too_long"),
    ],
)
def test_what_is_not_read_has_a_reason(stored: str, reason: str) -> None:
    """So says the file of refused lines of an import."""
    assert parse(stored) is None
    assert why_refused(stored) == reason


MALFORMED = [
    "",
    "$",
    "$$",
    "$$$$$$",
    "plain text",
    "$argon2id",
    "$argon2id$",
    f"$argon2id$v=18$m=8,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$v=19$m=8,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=-8,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=٨,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t=0,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t=1,p=0${SALT}${DIGEST}",
    f"$argon2id$v=19$m=15,t=1,p=2${SALT}${DIGEST}",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}==${DIGEST}",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}${DIGEST}=",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}${DIGEST}\n",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}${DIGEST}!!!!",
    f"$argon2id$v=19$m=8,t=1,p=1$c2hvcnQ${DIGEST}",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}$AAAA",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}$",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}${'A' * 174}",
    f"$argon2x$v=19$m=8,t=1,p=1${SALT}${DIGEST}",
    f"argon2$$argon2id$v=19$m=8,t=1,p=1${SALT}${DIGEST}",
    f"$2x$05${BCRYPT_TAIL}",
    f"$2b$5${BCRYPT_TAIL}",
    f"$2b$03${BCRYPT_TAIL}",
    f"$2b$+5${BCRYPT_TAIL}",
    f"$2b$05${BCRYPT_TAIL[:-1]}",
    f"$2b$05${BCRYPT_TAIL}x",
    f"$2b$05${BCRYPT_TAIL[:-1]}!",
    f"bcrypt$2b$05${BCRYPT_TAIL}",
    f"$scrypt$r=8,ln=6,p=1${SALT}${DIGEST}",
    f"$scrypt$ln=0,r=8,p=1${SALT}${DIGEST}",
    f"$scrypt$ln=16,r=1,p=1${SALT}${DIGEST}",
    f"$scrypt$ln=6,r=0,p=1${SALT}${DIGEST}",
    f"$scrypt$ln=6,r=8,p=0${SALT}${DIGEST}",
    f"$scrypt$ln=6,r=8${SALT}${DIGEST}",
    f"scrypt$63$seasalt$8$1${DIGEST_PADDED}",
    f"scrypt$64$$8$1${DIGEST_PADDED}",
    f"scrypt$64$\ud800$8$1${DIGEST_PADDED}",
    f"$pbkdf2-sha256$0${SALT}${DIGEST}",
    f"$pbkdf2-sha256$1_000${SALT}${DIGEST}",
    f"$pbkdf2-sha256$5000${SALT[:-1]}+${DIGEST}",
    f"$pbkdf2-sha256$5000$${DIGEST}",
    f"$pbkdf2-md5$5000${SALT}${DIGEST}",
    f"pbkdf2_sha256$5000$seasalt${DIGEST}",
    f"keycloak$pbkdf2-sha512$5000${SALT}${DIGEST_PADDED}",
    f"keycloak$md5$5000${SALT_PADDED}${DIGEST_PADDED}",
    f"keycloak$pbkdf2-sha512$5000${SALT_PADDED}",
    f"$argon2id$v=19$m=8,t=1,p=1${SALT}${'A' * STORED_LENGTH_MAX}",
]


@pytest.mark.parametrize("stored", MALFORMED)
def test_what_is_malformed_is_not_read(stored: str) -> None:
    assert parse(stored) is None


def test_text_longer_than_the_column_is_not_even_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(VECTORS[0]["stored"]) is not None
    monkeypatch.setattr("tidegate.passwords.notations.STORED_LENGTH_MAX", len(VECTORS[0]["stored"]) - 1)
    assert parse(VECTORS[0]["stored"]) is None


@given(stored=st.text(alphabet=st.characters(exclude_categories=()), max_size=600))
def test_no_text_at_all_makes_parse_raise(stored: str) -> None:
    parse(stored)


@settings(max_examples=300, deadline=None)
@given(
    stored=st.sampled_from([v["stored"] for v in VECTORS if "65536" not in v["stored"] and "210000" not in v["stored"]]),
    at=st.integers(min_value=0, max_value=511),
    by=st.one_of(st.sampled_from("$=,0123456789.+/aZ\n\0"), st.characters(exclude_categories=())),
)
def test_one_wrong_character_anywhere_neither_raises_nor_lets_another_password_in(stored: str, at: int, by: str) -> None:
    at %= len(stored)
    parsed = parse(stored[:at] + by + stored[at + 1 :])
    if parsed is not None and not _is_dear(parsed):
        assert parsed.verify(b"not the password") is False


def _is_dear(parsed: Any) -> bool:
    """A digit more can cost a second, which 300 examples have not."""
    costs = [getattr(parsed, name, 0) for name in ("memory_cost_kib", "time_cost", "iterations", "n", "p")]
    return max(costs) > 20_000 or getattr(parsed, "time_cost", 0) > 20 or getattr(parsed, "cost", 0) > 6


def test_a_long_password_matches_the_bcrypt_hash_that_saw_only_its_first_72_bytes() -> None:
    """Its owner typed all of it when it was made elsewhere. The library raises on more than 72 bytes."""
    long = "🐎" * 40
    stored = parse(bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode())
    assert stored is not None
    assert stored.verify(long.encode())
    assert not stored.verify(long.encode()[:71])


@pytest.mark.parametrize("salt_end", "uvwxyz0123456789")
def test_spare_bits_at_the_end_of_a_bcrypt_salt_do_not_matter(salt_end: str) -> None:
    """Found by the test with one wrong character: the library raises on them, but some programs left them set."""
    stored = parse(f"$2b$05${BCRYPT_TAIL[:21]}{salt_end}{BCRYPT_TAIL[22:]}")
    assert stored is not None
    assert stored.verify("lètmein".encode())


def test_djangos_bcrypt_of_sha256_cuts_nothing() -> None:
    long = b"a" * 100
    digest = hashlib.sha256(long).hexdigest().encode()
    stored = parse("bcrypt_sha256$" + bcrypt.hashpw(digest, bcrypt.gensalt(4)).decode())
    assert stored is not None
    assert stored.verify(long)
    assert not stored.verify(long[:72])


def test_the_lanes_of_one_hash_start_no_threads() -> None:
    """Django writes 8 lanes: the library would take 8 cores for one login, whatever the pool is bounded to."""
    stored = parse(next(v["stored"] for v in VECTORS if v["notation"] == "django argon2, 8 lanes"))
    assert isinstance(stored, Argon2Hash)
    seen: set[int] = set()
    is_done = threading.Event()

    def watch() -> None:
        while not is_done.is_set():
            seen.add(len(os.listdir("/proc/self/task")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = len(os.listdir("/proc/self/task"))
    for _ in range(3):
        assert stored.verify("lètmein".encode())
    is_done.set()
    watcher.join()
    assert max(seen) <= before


class Failing:
    """An engine that fails."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def digests(self, _cost: object, _inputs: object) -> list[bytes]:
        raise self.failure


@pytest.mark.parametrize("failure", [MemoryError(), HashingError("Some of encoded parameters are too long")])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_failure_of_the_engine_is_told_apart_from_a_wrong_password(
    monkeypatch: pytest.MonkeyPatch, parallelism: int, failure: Exception
) -> None:
    """Were it "does not match", the answer would be untrue (promise P9)."""
    monkeypatch.setattr(argon2, "ENGINE", Failing(failure))
    stored = parse(f"$argon2id$v=19$m=64,t=1,p={parallelism}${SALT}${DIGEST}")
    assert stored is not None
    with pytest.raises(type(failure)):
        stored.verify(b"correct horse")
