"""`tidegate doctor` as an operator runs it: on what is well, on what is wrong, and on what is away."""

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import running_up, tidegate
from tidegate.tokens.keys import create_key_file

PASSWORD = "hunter2"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not under pytest's own folder, which other users cannot enter."""
    made = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def settings(folder: Path, dsn: str) -> dict[str, str]:
    create_key_file(folder / "keys.json")
    return {
        "PRIMARY_DSN": dsn,
        "SIGNING_KEYS_FILE": str(folder / "keys.json"),
        "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
    }


def verdicts(told: str) -> dict[str, set[str]]:
    """The verdicts by matter."""
    found: dict[str, set[str]] = {}
    for each in json.loads(told)["findings"]:
        found.setdefault(each["matter"], set()).add(each["verdict"])
    return found


def test_nothing_is_wrong_with_what_up_runs(folder: Path) -> None:
    with running_up(folder / "data"):
        told = tidegate("doctor", "--data-dir", folder / "data")
    assert told.returncode == 0, told.stdout
    assert told.stderr == ""
    assert "\nwrong " not in f"\n{told.stdout}"
    for matter in ("hash engine", "cores", "memory", "database", "migrations", "connections", "durability"):
        assert f" {matter} " in told.stdout


def test_who_has_configured_nothing_is_told_of_the_machine(folder: Path) -> None:
    told = tidegate("doctor", "--json", settings={"DATA_DIR": str(folder)})
    assert told.returncode == 0, told.stdout
    assert verdicts(told.stdout)["settings"] == {"warning"}
    assert "database" not in verdicts(told.stdout)


def test_a_database_without_our_tables_ends_with_the_code_of_the_schema(folder: Path, empty_database: str) -> None:
    told = tidegate("doctor", "--json", settings=settings(folder, empty_database))
    assert told.returncode == 76
    assert verdicts(told.stdout)["migrations"] == {"wrong"}


def test_a_database_that_is_away_ends_with_its_code_and_no_secret_is_told(folder: Path) -> None:
    given = settings(folder, f"postgresql://tidegate:{PASSWORD}@/tidegate?host={folder}")
    for words in (("doctor",), ("doctor", "--json")):
        told = tidegate(*words, settings=given)
        assert told.returncode == 69
        assert "no way to it (no such file or directory)" in told.stdout
        for secret in (PASSWORD, given["REFRESH_MAC_KEY"]):
            assert secret not in told.stdout + told.stderr


def test_every_fault_of_the_settings_is_told_with_what_to_do(folder: Path) -> None:
    given = settings(folder, "postgresql://db.example/tidegate") | {"PORT": "x", "HASH_NICENESS": "99"}
    told = tidegate("doctor", "--json", settings=given)
    assert told.returncode == 78
    wrong = [each for each in json.loads(told.stdout)["findings"] if each["verdict"] == "wrong"]
    assert [(each["says"], each["advice"]) for each in wrong] == [
        ("TIDEGATE_PORT is 'x'", "set it to a whole number from 1 to 65535"),
        ("TIDEGATE_HASH_NICENESS is '99'", "set it to a whole number from 0 to 19"),
    ]


def test_signing_keys_that_others_may_read_are_wrong(folder: Path) -> None:
    given = settings(folder, f"postgresql:///tidegate?host={folder}")
    (folder / "keys.json").chmod(0o644)
    told = tidegate("doctor", "--json", settings=given)
    assert told.returncode == 78
    assert verdicts(told.stdout)["signing keys"] == {"wrong"}
