"""The key file changes whole or not at all, and who cannot read it says why without telling what is in it."""

import asyncio
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.tokens.conftest import START, HandClock
from tidegate.tokens.keys import LEAD_S_DEFAULT, KeyFileError, KeyRing, create_key_file, list_keys, rotate
from tidegate.tokens.keyset import KeyState


def stored(path: Path) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(path.read_text())["keys"]
    return keys


def rewrite(path: Path, keys: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps({"keys": keys}))


def test_the_file_is_a_jwk_set_that_only_its_owner_may_read(key_file: Path):
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in key_file.parent.iterdir()] == [key_file.name]
    (jwk,) = stored(key_file)
    assert jwk.keys() == {"kty", "crv", "x", "d", "kid", "alg", "use", "published_at", "sign_from"}
    assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")


def test_a_file_that_exists_is_left_alone(key_file: Path):
    before = key_file.read_bytes()
    assert create_key_file(key_file) is False
    assert key_file.read_bytes() == before


def test_of_many_that_start_at_once_one_makes_the_file(tmp_path: Path):
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: create_key_file(path), range(16)))
    assert sorted(made) == [False] * 15 + [True]
    assert len(stored(path)) == 1


def test_the_first_key_signs_by_the_wall_clock_when_no_time_is_given(tmp_path: Path):
    path = tmp_path / "keys.json"
    assert create_key_file(path) is True
    assert [row.state for row in list_keys(path)] == [KeyState.SIGNING]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(KeyFileError, match=r"keys\.json cannot be changed: No such file or directory"):
        create_key_file(tmp_path / "nowhere" / "keys.json")


def test_a_rotation_adds_a_key_that_waits(key_file: Path):
    listed = rotate(key_file, keep_s=332, now=START + 50)
    assert [(row.state, row.since, row.until) for row in listed] == [
        (KeyState.WAITING, START + 50, START + 50 + LEAD_S_DEFAULT),
        (KeyState.SIGNING, START, START + 50 + LEAD_S_DEFAULT),
    ]
    assert list_keys(key_file, now=START + 50) == listed
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_a_rotation_under_way_refuses_the_next_and_says_until_when(key_file: Path):
    rotate(key_file, lead_s=336, keep_s=332, now=START)
    before = key_file.read_bytes()
    with pytest.raises(KeyFileError, match="A rotation is under way: rotate again after 2027-01-15T08:05:36"):
        rotate(key_file, lead_s=336, keep_s=332, now=START + 335)
    assert key_file.read_bytes() == before
    assert len(rotate(key_file, lead_s=336, keep_s=332, now=START + 336)) == 3


def test_stolen_keys_are_replaced_even_while_a_rotation_is_under_way(key_file: Path):
    stolen = {row.kid for row in rotate(key_file, lead_s=336, keep_s=332, now=START)}
    (row,) = rotate(key_file, lead_s=0, keep_s=0, now=START + 1)
    assert row.state is KeyState.SIGNING
    assert row.kid not in stolen


def test_of_many_rotations_at_once_one_happens(key_file: Path):
    def try_to_rotate(_: int) -> bool:
        try:
            rotate(key_file, keep_s=332, now=START + 1)
        except KeyFileError:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(try_to_rotate, range(16))) == 1
    assert len(stored(key_file)) == 2


@pytest.mark.parametrize(("lead_s", "keep_s"), [(-1, 300), (300, -1)])
def test_a_key_cannot_sign_before_it_is_published(key_file: Path, lead_s: int, keep_s: int):
    with pytest.raises(KeyFileError, match="cannot sign before it is published"):
        rotate(key_file, lead_s=lead_s, keep_s=keep_s)


def test_a_rotation_that_is_cut_off_leaves_the_file_as_it_was(key_file: Path, monkeypatch: pytest.MonkeyPatch):
    before = key_file.read_bytes()

    def power_cut(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(KeyFileError, match="cannot be changed: Input/output error"):
        rotate(key_file, keep_s=332, now=START)
    assert key_file.read_bytes() == before
    assert [path.name for path in key_file.parent.iterdir()] == [key_file.name]


def test_a_rotation_by_root_leaves_the_file_to_the_service_that_owns_it(key_file: Path, monkeypatch: pytest.MonkeyPatch):
    given_to: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "fchown", lambda _, user, group: given_to.append((user, group)))
    rotate(key_file, keep_s=332, now=START)
    assert given_to == [(os.getuid(), key_file.stat().st_gid)]


def test_a_rotation_through_a_symbolic_link_changes_what_it_points_to(key_file: Path, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(key_file)
    rotate(link, keep_s=332, now=START)
    assert link.is_symlink()
    assert len(stored(key_file)) == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660])
def test_a_file_that_others_may_open_is_not_used(key_file: Path, mode: int):
    key_file.chmod(mode)
    with pytest.raises(KeyFileError, match="is open to others than its owner: chmod 600 it"):
        KeyRing(key_file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(KeyFileError, match=r"There is no key file at .*/none\.json"):
        KeyRing(tmp_path / "none.json")


def test_a_folder_in_its_place_is_named(tmp_path: Path):
    with pytest.raises(KeyFileError, match=r"cannot be read: Is a directory"):
        KeyRing(tmp_path)


WRONG: dict[str, Any] = {
    "kty": "EC",
    "crv": "Ed448",
    "alg": "none",
    "use": "enc",
    "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08",
    "kid": "other",
    "d": "AAAA",
    "sign_from": 2**40,
    "published_at": "soon",
}


@pytest.mark.parametrize("member", WRONG)
def test_a_key_that_is_not_as_we_write_it_is_refused(key_file: Path, member: str):
    (jwk,) = stored(key_file)
    secret = jwk["d"]
    for changed in (jwk | {member: WRONG[member]}, {name: jwk[name] for name in jwk if name != member}):
        rewrite(key_file, [changed])
        with pytest.raises(KeyFileError) as refused:
            KeyRing(key_file)
        assert secret not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "null", '{"keys":[]}', '{"keys":{}}', "[" * 10_000, "\xff", "-----BEGIN PRIVATE KEY-----", "x" * 70_000],
)
def test_what_is_no_key_set_is_refused(key_file: Path, text: str):
    key_file.write_text(text, encoding="latin1")
    with pytest.raises(KeyFileError):
        KeyRing(key_file)


def test_the_same_key_twice_is_refused(key_file: Path):
    rewrite(key_file, stored(key_file) * 2)
    with pytest.raises(KeyFileError, match="does not hold a usable set of keys"):
        KeyRing(key_file)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 400), cut=st.integers(0, 40), put=st.binary(max_size=8))
def test_however_the_file_is_damaged_the_error_is_ours_and_tells_no_key(key_file: Path, at: int, cut: int, put: bytes):
    whole = key_file.read_bytes()
    secret = stored(key_file)[0]["d"]
    damaged = key_file.with_name("damaged.json")
    damaged.touch(mode=0o600)
    damaged.write_bytes(whole[:at] + put + whole[at + cut :])
    error: KeyFileError | None = None
    try:
        KeyRing(damaged)
    except KeyFileError as raised:
        error = raised
    if error is not None:
        assert error.__cause__ is None
        assert secret[4:-4] not in str(error)


def test_a_ring_takes_up_a_rotation_when_it_looks(key_file: Path, clock: HandClock):
    ring = KeyRing(key_file, now=clock)
    (old,) = ring.current.keys
    listed = rotate(key_file, lead_s=336, keep_s=332, now=clock())
    assert ring.find(listed[0].kid) is None
    assert ring.refresh_if_changed() is True
    assert ring.refresh_if_changed() is False
    assert ring.find(listed[0].kid) is not None
    assert listed[0].kid.encode() in ring.public_jwks()
    assert ring.signer().kid == old.kid
    clock.time += 336
    assert ring.signer().kid == listed[0].kid


def test_a_broken_file_leaves_the_keys_as_they_were_until_it_is_whole_again(key_file: Path, ring: KeyRing):
    whole, kid = key_file.read_bytes(), ring.signer().kid
    key_file.write_text("{")
    for _ in range(2):  # each look tries again: what was wrong may have been the reading
        with pytest.raises(KeyFileError):
            ring.refresh_if_changed()
        assert ring.signer().kid == kid
    key_file.unlink()
    with pytest.raises(KeyFileError, match="No such file"):
        ring.refresh_if_changed()
    key_file.touch(mode=0o600)
    key_file.write_bytes(whole)
    assert ring.refresh_if_changed() is True


def test_the_watch_reports_what_it_cannot_read_and_goes_on(key_file: Path, monkeypatch: pytest.MonkeyPatch):
    ring = KeyRing(key_file, reload_interval_s=0)
    broken = KeyFileError("The key file is broken.")
    looks: list[BaseException | bool] = [False, broken, broken, True, asyncio.CancelledError()]
    reported: list[KeyFileError] = []

    def look() -> bool:
        match looks.pop(0):
            case bool() as changed:
                return changed
            case error:
                raise error

    monkeypatch.setattr(ring, "refresh_if_changed", look)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ring.watch(report=reported.append))
    assert looks == []
    assert reported == [broken, broken]


def test_a_ring_shows_no_key_in_its_repr(key_file: Path, ring: KeyRing):
    assert repr(ring) == f"KeyRing('{key_file}', 1 keys)"
