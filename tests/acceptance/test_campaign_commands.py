"""`tidegate campaigns` as people and scripts run it: what it prints, where, and how it ends."""

import json
from pathlib import Path

from tests.acceptance.test_commands_and_their_ends import assert_ends, settings
from tests.support.commands import tidegate


def test_a_campaign_by_hand(tmp_path: Path, database: str) -> None:
    given = settings(tmp_path, database)
    terms = ("--cap", "500", "--percent", "12.5", "--closes", "2126-12-24T18:00Z")
    made = tidegate("campaigns", "create", "spring", *terms, "--json", settings=given)
    assert (made.returncode, made.stderr) == (0, "")
    assert json.loads(made.stdout)["state"] == "active"
    listed = tidegate("campaigns", "list", settings=given)
    assert listed.stdout.splitlines()[1].split()[:2] == ["spring", "active"]
    verified = tidegate("campaigns", "verify", "spring", settings=given)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.splitlines()[-1] == "spring: all 17 hold"
    exported = tidegate("campaigns", "export", "spring", settings=given)
    (columns,) = exported.stdout.splitlines()
    assert columns.split(",")[:2] == ["place", "user_id"]
    ended = tidegate("campaigns", "end", "spring", settings=given)
    assert_ends(ended, 64, "there is no terminal to ask whether you are sure; use --yes")
    ended = tidegate("campaigns", "create", "spring", *terms, settings=given)
    assert_ends(ended, 65, "code is refused: taken")


def test_help_teaches_by_examples() -> None:
    told = tidegate("campaigns", "--help")
    assert told.returncode == 0
    assert "tidegate campaigns create spring --cap 500" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 140
