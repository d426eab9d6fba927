"""`tidegate campaigns` as people and scripts run it: what it prints, where, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.test_commands_and_their_ends import assert_ends, execute, settings
from tests.support.commands import environment_with, tidegate


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
    assert_ends(ended, 65, "CODE is refused (taken): another campaign has it")


def test_help_teaches_by_examples() -> None:
    told = tidegate("campaigns", "--help")
    assert told.returncode == 0
    assert "tidegate campaigns create spring --cap 500" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 140


CROWD = """
INSERT INTO campaigns (campaign_id, code, name, opens_at, closes_at, cap, percent, coupon_days, rank_by, passes_on, state)
    VALUES (gen_random_uuid(), 'spring', 'Spring', now(), now() + interval '1 h', {cap}, 15, 30, 'login', false, 'active');
INSERT INTO users (userid, username, password, full_name)
    SELECT gen_random_uuid(), 'user' || n, 'x', 'Somebody ' || n FROM generate_series(1, {entrants}) AS n;
INSERT INTO entrants (user_id, campaign_id, login_job, login_at)
    SELECT userid, campaign_id, row_number() OVER (), now() FROM users, campaigns;
INSERT INTO audit VALUES (0, now() - interval '1 day', 'user_registered', gen_random_uuid());
INSERT INTO audit SELECT login_job, login_at, 'login_succeeded', user_id FROM entrants;
INSERT INTO coupons
    SELECT gen_random_uuid(), 'C' || n, 15, (now() AT TIME ZONE 'utc')::date + 30 FROM generate_series(1, {cap}) AS n;
INSERT INTO grants (campaign_id, user_id, rank, state, couponid, granted_at)
    SELECT campaign_id, user_id, login_job, 'granted', couponid, now()
    FROM entrants JOIN coupons ON code = 'C' || login_job;
UPDATE users SET discount = ARRAY[couponid] FROM grants WHERE userid = user_id;
ANALYZE;
"""


@pytest.mark.full
def test_a_crowd_takes_no_more_memory_than_a_few(tmp_path: Path, database: str) -> None:
    def peak_kib(*words: str) -> int:
        with (tmp_path / "output").open("wb") as output:
            started = subprocess.Popen(
                [sys.executable, "-m", "tidegate", "campaigns", *words],
                env=environment_with(settings(tmp_path / words[0], database)),
                stdout=output,
                cwd="/",
            )
            _, status, used = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
        assert started.returncode == 0
        return used.ru_maxrss

    for folder in ("show", "verify", "export"):
        (tmp_path / folder).mkdir()
    execute(database, CROWD.format(entrants=100_000, cap=50_000))
    few = peak_kib("show", "spring")
    for words in (("verify", "spring"), ("export", "spring"), ("export", "spring", "--format", "jsonl")):
        (tmp_path / words[0] / "keys.json").unlink(missing_ok=True)
        assert peak_kib(*words) - few < 16 * 1024
    assert len((tmp_path / "output").read_bytes().splitlines()) == 50_000
