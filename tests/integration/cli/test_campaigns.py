"""`tidegate campaigns` on a real database: what it says, what it changes, how it ends."""

import asyncio
import base64
import csv
import io
import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.storage.worlds import PostgresWorld, opened_world
from tests.integration.worker.test_coupons import granting
from tests.integration.worker.test_jobs import hands_of
from tests.support.campaigns import enter, log_in
from tests.support.commands import ROOT
from tidegate.cli.exits import DONE, NO_SUCH_USER, REFUSED, UNTRUE, WRONG_WORDS
from tidegate.cli.main import main
from tidegate.domain.campaign_checks import Check
from tidegate.domain.campaigns import CampaignState, GrantState
from tidegate.domain.participation import CouponStatus
from tidegate.storage import campaign_export
from tidegate.tokens.keys import create_key_file


class Desk:
    """An operator at the command line of one installation."""

    def __init__(self, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._dsn = dsn
        self._capsys = capsys

    def does(self, *typed: str) -> tuple[int, str, str]:
        """The exit code, standard output and standard error of `tidegate campaigns` with *typed*."""
        self._capsys.readouterr()
        code = main(["campaigns", *typed])
        told = self._capsys.readouterr()
        return code, told.out, told.err

    def says(self, *typed: str) -> str:
        code, out, err = self.does(*typed)
        assert (code, err) == (DONE, "")
        return out

    def is_refused(self, *typed: str, code: int = REFUSED) -> str:
        ended, out, err = self.does(*typed)
        assert (ended, out) == (code, "")
        assert err.startswith("tidegate: ")
        return err

    def in_the_world(self, story: Callable[[PostgresWorld], Awaitable[None]]) -> None:
        async def tell() -> None:
            async with opened_world(self._dsn) as world:
                await story(world)

        asyncio.run(tell())


@pytest.fixture
def desk(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    for name in [name for name in os.environ if name.startswith("TIDEGATE_")]:
        monkeypatch.delenv(name)
    create_key_file(tmp_path / "keys.json")
    given = {
        "PRIMARY_DSN": database,
        "SIGNING_KEYS_FILE": str(tmp_path / "keys.json"),
        "REFRESH_MAC_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
    }
    for name, text in given.items():
        monkeypatch.setenv(f"TIDEGATE_{name}", text)
    monkeypatch.chdir(tmp_path)
    return Desk(database, capsys)


TERMS = ("--cap", "2", "--percent", "12.5", "--closes", "2126-12-01T18:00Z")


async def come(world: PostgresWorld, code: str, names: str) -> None:
    """They register through the campaign, log in and get their coupons, as far as there are any."""
    campaign = await world.outside.fetchval("SELECT campaign_id FROM campaigns WHERE code = $1", code)
    users = await enter(world.outside, campaign, len(names.split()))
    for name, user in zip(names.split(), users, strict=True):
        await world.outside.execute("UPDATE users SET username = $1 WHERE userid = $2", name, user)
    await log_in(world.outside, users)
    while await hands_of(world).work():
        pass
    await granting(world)()


def test_a_campaign_from_its_draft_to_its_end(desk: Desk) -> None:
    made = json.loads(desk.says("create", "Spring", *TERMS, "--passes-on", "--draft", "--json"))
    assert (made["code"], made["state"], made["percent"], made["free"]) == ("spring", "draft", "12.50", 2)
    assert "begins it" in desk.is_refused("pause", "spring")
    assert desk.says("resume", "spring") == "spring is active\n"
    assert desk.says("pause", "spring") == "spring is paused\n"
    assert "lets it go on" in desk.is_refused("pause", "spring")
    assert json.loads(desk.says("resume", "spring", "--json"))["state"] == "active"
    assert "spring is active already" in desk.is_refused("resume", "spring")
    desk.in_the_world(lambda world: come(world, "spring", "ann bob cid"))
    assert "exhausted" in desk.says("list").splitlines()[1]
    assert "spring is exhausted already" in desk.is_refused("resume", "spring")
    assert desk.says("pause", "spring") == "spring is paused\n"
    assert desk.says("resume", "spring") == "spring is exhausted\n"
    desk.is_refused("end", "spring", code=WRONG_WORDS)
    assert desk.says("end", "spring", "--yes") == "spring is ended\n"
    assert "for good" in desk.is_refused("resume", "spring")
    shown = json.loads(desk.says("show", "spring", "--json"))
    assert (shown["registered"], shown["granted"], shown["issued"], shown["free"]) == (3, 2, 2, 0)
    assert shown["ended_at"] is not None
    (listed,) = json.loads(desk.says("list", "--json"))
    assert listed["code"] == "spring"


def test_what_makes_no_campaign_is_told_field_by_field(desk: Desk) -> None:
    told = desk.is_refused("create", "spr ing", "--cap", "0", "--percent", "101", "--closes", "2026-01-01T00:00Z")
    assert [line.partition(": ")[2].partition(":")[0] for line in told.splitlines()] == [
        "CODE is refused (invalid_characters)",
        "--closes is refused (not_after_opens_at)",
        "--cap is refused (out_of_range)",
        "--percent is refused (out_of_range)",
    ]
    assert "1 to 10,000,000" in told
    desk.says("create", "spring", *TERMS)
    assert "CODE is refused (taken)" in desk.is_refused("create", "SPRING", *TERMS)
    for action in ("show", "pause", "verify", "export"):
        assert "`tidegate campaigns list` names them" in desk.is_refused(action, "summer")


def test_a_coupon_is_taken_back_by_user_or_by_code(desk: Desk) -> None:
    desk.says("create", "spring", *TERMS, "--passes-on")
    desk.in_the_world(lambda world: come(world, "spring", "ann bob cid dan"))
    assert "goes to the next" in desk.says("void", "spring", "ann", "--reason", "sold", "--yes")
    assert "voided already" in desk.is_refused("void", "spring", "ann", "--reason", "sold", "--yes")
    assert "has no seat" in desk.is_refused("void", "spring", "dan", "--reason", "sold", "--yes")
    assert "no user eve" in desk.is_refused("void", "spring", "eve", "--reason", "sold", "--yes", code=NO_SUCH_USER)
    for typed, kind in (("a b", "username"), ("@", "email"), ("+1", "phone number")):
        answer = desk.is_refused("void", "spring", typed, "--reason", "sold", "--yes")
        assert f"nobody can have this {kind}" in answer
    assert "--reason is missing" in desk.is_refused("void", "spring", "bob", "--reason", " ", "--yes")

    async def serve_and_redeem(world: PostgresWorld) -> None:
        await granting(world)()
        await world.outside.execute(
            "UPDATE grants SET redeemed_at = now() FROM users WHERE userid = user_id AND username = 'cid'"
        )

    desk.in_the_world(serve_and_redeem)
    rows = {
        row["username"]: row for row in map(json.loads, desk.says("export", "spring", "--format", "jsonl").splitlines())
    }
    assert {name: row["state"] for name, row in rows.items()} == {"ann": "returned", "bob": "granted", "cid": "granted"}
    assert rows["ann"]["void_reason"] == "sold"
    assert "has been redeemed" in desk.is_refused("void", "--coupon", rows["cid"]["code"], "--reason", "r", "--yes")
    voided = json.loads(desk.says("void", "--coupon", rows["bob"]["code"].lower(), "--reason", "r", "--yes", "--json"))
    assert (voided["user"], voided["state"]) == (rows["bob"]["user_id"], "returned")
    assert "no campaign has granted" in desk.is_refused("void", "--coupon", "0", "--reason", "r", "--yes")

    async def told(world: PostgresWorld) -> None:
        events = await world.outside.fetch("SELECT detail->>'by' AS by, user_id FROM jobs WHERE kind = 'coupon_voided'")
        assert [row["user_id"] for row in events] == [UUID(rows["ann"]["user_id"]), UUID(rows["bob"]["user_id"])]
        assert all(row["by"].startswith("cli:") for row in events)

    desk.in_the_world(told)


def test_what_holds_is_verified_and_what_was_tampered_with_ends_with_1(desk: Desk) -> None:
    desk.says("create", "spring", *TERMS)
    desk.in_the_world(lambda world: come(world, "spring", "ann bob cid"))
    told = desk.says("verify", "spring").splitlines()
    assert all(line.startswith("ok ") for line in told[:-1])
    assert told[-1] == f"spring: all {len(told) - 1} hold"

    async def tamper(world: PostgresWorld) -> None:
        await world.outside.execute("UPDATE users SET discount = NULL WHERE username = 'ann'")

    desk.in_the_world(tamper)
    code, out, err = desk.does("verify", "spring")
    assert (code, err) == (UNTRUE, "")
    assert [line.split()[1] for line in out.splitlines() if line.startswith("BROKEN")] == ["mirror_missing:"]
    code, out, _ = desk.does("verify", "SPRING", "--json")
    assert code == UNTRUE
    report = json.loads(out)
    assert not report["holds"]
    (broken,) = [check for check in report["checks"] if not check["holds"]]
    assert (broken["check"], len(broken["offences"]), broken["are_more"]) == ("mirror_missing", 1, False)


def test_an_export_has_every_seat_once_in_order_however_many_pages(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign_export, "GRANTS_A_PAGE", 7)
    desk.says("create", "spring", "--cap", "30", *TERMS[2:])
    desk.in_the_world(lambda world: come(world, "spring", " ".join(f"u{n:02}" for n in range(40))))
    target = tmp_path / "spring.csv"
    assert desk.says("export", "spring", "--out", str(target)) == ""
    rows = list(csv.DictReader(io.StringIO(target.read_text(), newline="")))
    assert [row["username"] for row in rows] == [f"u{n:02}" for n in range(30)]
    assert all((row["state"], row["discount"], row["phone_number"]) == ("granted", "12.50", "") for row in rows)
    assert len({row["code"] for row in rows}) == 30
    printed = desk.says("export", "spring")
    assert printed.replace("\r\n", "\n") == target.read_text().replace("\r\n", "\n")


def test_the_page_for_operators_names_every_state_and_check_and_mends_the_mirror(desk: Desk) -> None:
    page = (ROOT / "docs" / "CAMPAIGNS.md").read_text()
    tables = [
        [name for line in table.splitlines()[2:] for name in line.strip("| ").partition(" |")[0].split(", ")]
        for table in re.findall(r"^(?:\|.*\n)+", page, re.MULTILINE)
    ]
    for words in (CampaignState, GrantState, CouponStatus, Check):
        assert any(sorted(named) == sorted(words) for named in tables), words
    (statement,) = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    desk.says("create", "spring", *TERMS)
    desk.in_the_world(lambda world: come(world, "spring", "ann bob cid"))
    desk.says("void", "spring", "bob", "--reason", "sold", "--yes")

    async def tamper(world: PostgresWorld) -> None:
        await world.outside.execute("UPDATE users SET discount = ARRAY[gen_random_uuid()] WHERE username <> 'cid'")

    async def mend(world: PostgresWorld) -> None:
        await world.outside.execute(statement)

    desk.in_the_world(tamper)
    assert desk.does("verify", "spring")[0] == UNTRUE
    desk.in_the_world(mend)
    desk.says("verify", "spring")
