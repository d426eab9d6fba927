"""A campaign as a person watches it: the picture fits its terminal, and speeds are those since the look before."""

import argparse
import dataclasses
import io
import os
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from tidegate.cli import campaigns_watch
from tidegate.cli.campaigns_view import Watched, json_of, line, page, watched
from tidegate.cluster.view import Screen
from tidegate.domain.campaigns import CampaignState, RankBy
from tidegate.wiring.administration import JOBS_COUNTED_MAX, CampaignLook

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LOOK = CampaignLook(
    code="spring",
    name="Spring sale",
    state=CampaignState.ACTIVE,
    rank_by=RankBy.LOGIN,
    closes_at=NOON + timedelta(hours=6),
    cap=500,
    issued=400,
    held=50,
    registrations=48_213,
    first_logins=420,
    jobs_waiting=120,
    oldest_job_s=0.34,
    last_delay_s=0.41,
)
SEEN = Watched(look=LOOK, at=NOON, registrations_per_s=120.0, first_logins_per_s=21.4, grants_per_s=20.0)


def test_the_picture_says_who_came_who_won_what_is_left_and_how_far_the_jobs_lag() -> None:
    assert page(SEEN, width=100, height=20, is_coloured=False) == [
        "spring: active, by first login, closes 2026-11-22 18:00 UTC; Spring sale",
        "registrations      48213     120/s",
        "first logins         420      21/s",
        "coupons              400      20/s   of 500   50 held",
        "seats left            50   [" + "#" * 48 + "+" * 6 + "." * 6 + "]",
        "jobs waiting         120   oldest 0.3 s",
        "last coupon        0.4 s   after the first login",
        "Ctrl-C ends this view and nothing else",
    ]


@pytest.mark.parametrize("width", range(101))
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    for line_ in page(SEEN, width=width, height=20, is_coloured=False):
        assert len(line_) <= width


@pytest.mark.parametrize("height", range(10))
def test_there_are_no_more_lines_than_the_terminal_has(height: int) -> None:
    lines = page(SEEN, width=80, height=height, is_coloured=False)
    assert len(lines) == min(height, 8)
    if 0 < height < 8:
        assert lines[-1] == "..."


def test_colours_change_no_letter() -> None:
    coloured = page(SEEN, width=100, height=20, is_coloured=True)
    assert "\x1b[32mactive\x1b[0m" in coloured[0]
    plain = [re.sub(r"\x1b\[\d*m", "", line_) for line_ in coloured]
    assert plain == page(SEEN, width=100, height=20, is_coloured=False)


def test_a_line_of_a_log_says_the_same() -> None:
    assert line(SEEN) == (
        "12:00:00 spring active: 48213 registrations, 420 first logins, 400 of 500 coupons (20/s), 50 seats left, 50 held, "
        "120 jobs wait (oldest 0.3 s), last coupon 0.4 s after the first login"
    )


def test_speeds_are_those_since_the_look_before_and_none_is_below_zero() -> None:
    first = watched(LOOK, at=NOON, before=None)
    assert (first.registrations_per_s, first.first_logins_per_s, first.grants_per_s) == (0.0, 0.0, 0.0)
    later = dataclasses.replace(LOOK, registrations=48_313, first_logins=400, issued=450)
    second = watched(later, at=NOON + timedelta(seconds=2), before=first)
    assert (second.registrations_per_s, second.first_logins_per_s, second.grants_per_s) == (50.0, 0.0, 25.0)


def test_a_number_that_was_not_counted_to_its_end_says_so() -> None:
    many = dataclasses.replace(SEEN, look=dataclasses.replace(LOOK, jobs_waiting=JOBS_COUNTED_MAX))
    assert f"{JOBS_COUNTED_MAX}+ jobs wait" in line(many)


def test_what_is_not_known_is_told_as_such() -> None:
    nobody = dataclasses.replace(SEEN, look=dataclasses.replace(LOOK, last_delay_s=None))
    assert page(nobody, width=100, height=20, is_coloured=False)[6] == "last coupon            -"
    assert "last coupon" not in line(nobody)
    assert json_of(nobody)["last_delay_s"] is None


def test_a_program_gets_every_number() -> None:
    told = json_of(SEEN)
    assert (told["at"], told["state"], told["left"], told["held"]) == ("2026-11-22T12:00:00.000+00:00", "active", 50, 50)
    assert (told["registrations"], told["first_logins"], told["issued"], told["cap"]) == (48_213, 420, 400, 500)
    assert (told["grants_per_s"], told["jobs_waiting"], told["oldest_job_s"], told["last_delay_s"]) == (
        20.0,
        120,
        0.34,
        0.41,
    )


@pytest.mark.parametrize("state", list(CampaignState))
def test_it_is_done_when_it_is_sold_out_or_over(state: CampaignState) -> None:
    assert dataclasses.replace(LOOK, state=state).is_done == (state in ("ended", "exhausted"))


def test_a_database_that_does_not_answer_leaves_the_last_picture_and_says_so() -> None:
    silent = page(SEEN, width=100, height=20, is_coloured=False, is_heard=False)
    assert silent[:-1] == page(SEEN, width=100, height=20, is_coloured=False)[:-1]
    assert silent[-1] == "the database does not answer; this goes on when it does"


def test_the_picture_is_drawn_anew_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    stream = io.StringIO()
    screen = Screen(stream, is_coloured=False)
    for _ in range(2):
        screen.draw_page(lambda width, height: page(SEEN, width=width, height=height, is_coloured=False))
    assert stream.getvalue().count("\x1b[8F") == 1  # up again over what was drawn first
    assert stream.getvalue().count("registrations") == 2


@pytest.mark.parametrize("every", ["0", "0.1", "-1", "3601", "nan", "often"])
def test_a_pause_that_makes_no_sense_is_refused(every: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    campaigns_watch.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["spring", "--every", every])
    assert "is no number of seconds from 0.2 to 3600" in capsys.readouterr().err
