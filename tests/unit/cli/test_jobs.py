"""Jobs as a person sees them."""

import argparse
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tidegate.cli import jobs
from tidegate.wiring.administration import ListedJob

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DEAD = ListedJob(7, "welcome_due", UUID(int=1), NOON, None, NOON, '{"sessions": 2}', 14, "SMTPRecipientsRefused")
FRESH = ListedJob(8, "login_succeeded", UUID(int=2), NOON, None, None, None, 0, None)


def test_a_table_has_a_line_of_names_and_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    jobs._print([jobs._row(DEAD), jobs._row(FRESH)], is_json=False, nothing="no jobs")
    names, dead, fresh = capsys.readouterr().out.splitlines()
    assert names.split() == ["job", "state", "kind", "user", "put", "tries", "error"]
    assert dead.split()[:3] == ["7", "dead", "welcome_due"]
    assert dead.split()[-2:] == ["14", "SMTPRecipientsRefused"]
    assert fresh.split()[-2:] == ["0", "-"]


def test_a_program_gets_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    jobs._print([], is_json=True, nothing="no jobs")
    jobs._show(DEAD, is_json=True)
    none, dead = map(json.loads, capsys.readouterr().out.splitlines())
    assert none == []
    assert (dead["detail"], dead["died"], dead["due"]) == ({"sessions": 2}, "2026-11-22T12:00:00+00:00", None)


def test_nothing_is_said_aside_so_that_a_count_of_lines_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    jobs._print([], is_json=False, nothing="no jobs")
    assert capsys.readouterr() == ("", "no jobs\n")


@pytest.mark.parametrize("words", ["show 0", "show 9223372036854775808", "retry x", "list --limit 0", "list --limit 1001"])
def test_a_number_that_cannot_be_one_is_refused_in_words(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the database is asked, which would refuse it in words of its own."""
    parser = argparse.ArgumentParser()
    jobs.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(words.split())
    told = capsys.readouterr().err
    assert "is no number from 1 to" in told
