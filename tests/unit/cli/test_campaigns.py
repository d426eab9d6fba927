"""Campaigns as a person and a program see them, and what a spreadsheet must not run."""

import argparse
import asyncio
import csv
import io
import json
import re
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from tidegate.cli import campaigns, campaigns_reports, campaigns_shown, progress
from tidegate.cli.exits import CANNOT_CREATE, REFUSED, WRONG_WORDS, CommandFailed
from tidegate.domain.campaign_checks import Check
from tidegate.domain.campaign_steps import NEXT, Campaign, CampaignCounts, CampaignStep
from tidegate.domain.campaigns import CampaignState, GrantState, RankBy, Terms
from tidegate.domain.errors import CampaignStepRefused, InvalidRequest
from tidegate.wiring.administration import ExportedGrant, Verdict

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
SPRING = Campaign(
    campaign_id=UUID(int=1),
    terms=Terms(
        code="spring",
        name="Spring",
        opens_at=NOON,
        closes_at=NOON + timedelta(hours=6),
        cap=500,
        percent=Decimal("12.5"),
        coupon_days=30,
        rank_by=RankBy.LOGIN,
        seat_hours=None,
        passes_on=True,
    ),
    state=CampaignState.ACTIVE,
    created_at=NOON,
    ended_at=None,
    issued=120,
    held=0,
)
COUNTS = CampaignCounts(registered=900, logged_in=130, granted=119, reserved=2, redeemed=7, voided=1, returned=0, lapsed=0)


def words(*typed: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    campaigns.configure(parser)
    return parser.parse_args(typed)


def grant(**change: object) -> ExportedGrant:
    known: dict[str, object] = {
        "place": 7,
        "user_id": UUID(int=2),
        "username": "ann",
        "email": None,
        "phone_number": "+4930123456",
        "full_name": "Ann, the first",
        "state": "granted",
        "couponid": UUID(int=3),
        "code": "7ZZH01QGAAAAAAAAB",
        "discount": Decimal("12.50"),
        "expiration_date": date(2026, 12, 31),
        "granted_at": NOON,
        "redeemed_at": None,
        "voided_at": None,
        "void_reason": None,
    }
    return ExportedGrant(**known | change)  # type: ignore[arg-type] # each is of its field's type


def test_a_table_has_a_line_of_names_and_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    campaigns_shown.print_table([SPRING], is_json=False)
    names, spring = capsys.readouterr().out.splitlines()
    assert dict(zip(names.split(), spring.split(), strict=True)) == {
        "code": "spring",
        "state": "active",
        "opens_at": "2026-12-01T12:00:00Z",
        "closes_at": "2026-12-01T18:00:00Z",
        "percent": "12.50",
        "rank_by": "login",
        "cap": "500",
        "issued": "120",
        "held": "0",
        "free": "380",
    }


def test_nothing_is_said_aside_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    campaigns_shown.print_table([], is_json=False)
    campaigns_shown.print_table([], is_json=True)
    told = capsys.readouterr()
    assert told.out == "[]\n"
    assert "create --help" in told.err


def test_one_is_shown_with_its_counts_to_a_person_and_to_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    campaigns_shown.print_campaign(SPRING, COUNTS, is_json=False)
    shown = capsys.readouterr().out.splitlines()
    assert {"code: spring", "state: active", "percent: 12.50", "free: 380", "redeemed: 7", "passes_on: yes"} <= set(shown)
    assert not any(line.startswith(("ended_at", "seat_hours")) for line in shown)
    campaigns_shown.print_campaign(SPRING, COUNTS, is_json=True)
    known = json.loads(capsys.readouterr().out)
    assert (known["percent"], known["ended_at"], known["registered"], known["passes_on"]) == ("12.50", None, 900, True)


def test_what_was_typed_becomes_the_terms() -> None:
    typed = words("create", "spring", "--cap", "500", "--percent", "12.5", "--closes", "2026-12-01T20:00+02:00")
    terms = campaigns._terms(typed)
    assert (terms.name, terms.percent, terms.closes_at) == ("spring", Decimal("12.5"), NOON + timedelta(hours=6))
    assert (terms.rank_by, terms.coupon_days, terms.seat_hours, terms.passes_on) == (RankBy.LOGIN, 30, None, False)
    assert abs(terms.opens_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_all_that_cannot_be_read_is_told_together() -> None:
    typed = words("create", "spring", "--cap", "5", "--percent", "x", "--closes", "soon", "--opens", "2026-12-01")
    with pytest.raises(InvalidRequest) as refused:
        campaigns._terms(typed)
    assert [str(fault) for fault in refused.value.faults] == [
        "closes_at=not_iso_8601",
        "opens_at=no_time_of_day",
        "percent=no_number",
    ]


def test_every_reason_of_the_domain_is_told_in_words() -> None:
    domain = Path(campaigns_reports.__file__).parents[1] / "domain"
    source = (domain / "campaigns.py").read_text() + (domain / "campaign_steps.py").read_text()
    reasons = set(re.findall(r'(?:faults.add|FieldFault)\([^,]+, "(\w+)"\)', source))
    assert {"not_iso_8601", "too_many_decimals", "invalid_characters"} <= reasons
    assert reasons == campaigns._WHY.keys() - {"taken"} | {"missing", "out_of_range"}


@pytest.mark.parametrize(
    "typed",
    [
        ("void", "--reason", "r"),
        ("void", "spring", "--reason", "r"),
        ("void", "spring", "ann", "--coupon", "7ZZH", "--reason", "r"),
        ("void", "spring", "--coupon", "7ZZH", "--reason", "r"),
    ],
)
def test_a_coupon_is_named_in_one_way_and_wholly(typed: tuple[str, ...]) -> None:
    with pytest.raises(CommandFailed) as refused:
        campaigns.run(words(*typed))
    assert refused.value.code == WRONG_WORDS


def test_every_step_that_is_refused_says_what_to_do() -> None:
    for state in CampaignState:
        for step in CampaignStep:
            if (state, step) not in NEXT:
                told = campaigns._no_step(CampaignStepRefused(state=state.value, step=step.value), "spring")
                assert told.startswith("spring ")
    assert set(campaigns._NOT_VOIDABLE) == {*map(str, GrantState)} - {"granted"} | {"redeemed"}


def test_what_is_for_good_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(CommandFailed) as refused:
        campaigns._confirm(words("end", "spring"), "Sure?")
    assert refused.value.code == WRONG_WORDS
    campaigns._confirm(words("end", "spring", "--yes"), "Sure?")
    monkeypatch.setattr(sys, "stdin", Terminal())
    typed = iter(["yes", "y"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    campaigns._confirm(words("end", "spring"), "Sure?")
    with pytest.raises(CommandFailed) as refused:
        campaigns._confirm(words("end", "spring"), "Sure?")
    assert refused.value.code == REFUSED


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d"])
def test_no_cell_is_a_formula_for_a_spreadsheet(begins: str) -> None:
    """ASVS v5.0.0-1.2.10: a name is whatever its user typed, and whoever opens the file runs it."""
    name = f'{begins}HYPERLINK("https://evil.example", "x")'
    written = campaigns_reports._csv_lines([grant(full_name=name, void_reason=name)]).decode()
    (row,) = csv.reader(io.StringIO(written, newline=""))
    assert row.count(f"'{name}") == 2
    assert not any(cell.startswith(campaigns_reports._FORMULAS) for cell in row)


def test_a_cell_with_quotes_commas_and_lines_is_one_cell() -> None:
    name = 'a, "b"\r\nc'
    (row,) = csv.reader(io.StringIO(campaigns_reports._csv_lines([grant(full_name=name)]).decode(), newline=""))
    assert row[5] == name
    assert row[:2] == ["7", str(UUID(int=2))]


def test_json_lines_are_exact() -> None:
    one, other = campaigns_reports._json_lines([grant(full_name="=1+1 ä"), grant(code=None)]).decode().splitlines()
    known = json.loads(one)
    assert (known["full_name"], known["discount"], known["phone_number"]) == ("=1+1 ä", "12.50", "+4930123456")
    assert (known["granted_at"], known["expiration_date"]) == ("2026-12-01T12:00:00Z", "2026-12-31")
    assert json.loads(other)["code"] is None


def test_a_file_is_whole_or_not_there_and_never_replaces_another(tmp_path: Path) -> None:
    target = tmp_path / "spring.csv"

    def stop_half_way() -> None:
        with campaigns_reports._opened(str(target)) as output:
            output.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert list(tmp_path.iterdir()) == []
    with campaigns_reports._opened(str(target)) as output:
        output.write(b"whole")
    assert target.read_bytes() == b"whole"
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CommandFailed, match="is there already") as refused, campaigns_reports._opened(str(target)):
        pass
    assert refused.value.code == CANNOT_CREATE
    with pytest.raises(CommandFailed, match="cannot be written"), campaigns_reports._opened(str(tmp_path / "no" / "file")):
        pass
    assert target.read_bytes() == b"whole"


def test_a_verdict_names_the_check_what_it_claims_and_who_offends(capsys: pytest.CaptureFixture[str]) -> None:
    campaigns_reports._print_verdict(Verdict(check=Check.ORDER, offences=[], are_more=False))
    offence: dict[str, str | int | None] = {"user_id": "x", "place": 7, "login_at": None}
    campaigns_reports._print_verdict(Verdict(check=Check.ORDER, offences=[offence], are_more=True))
    assert capsys.readouterr().out.splitlines() == [
        "ok      order: nobody was passed over",
        "BROKEN  order: nobody was passed over",
        "          user_id=x place=7",
        "          and more",
    ]


def test_what_is_quick_is_not_told_and_what_is_slow_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(*, is_slow: bool) -> None:
        late = progress.LateProgress("counting")
        async with late.going_on():
            late.show(0.5)
            while is_slow and not late._is_shown:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)
            late.show(1)

    asyncio.run(work(is_slow=False))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "SILENT_FOR_S", 0.0)
    asyncio.run(work(is_slow=True))
    assert capsys.readouterr().err == "tidegate: counting\n"
