"""A diagnosis is as bad as its worst finding, and says what to do below what is the case."""

import json

import pytest

from tidegate.diagnosis.findings import Matter, Verdict, as_json, as_text, diagnosis, ok, warning, wrong

FINE = ok(Matter.HASHING, "tidegate (avx2)")
SLOW = warning(Matter.HUGE_PAGES, "never", "ask for them")
BAD = wrong(Matter.DATABASE, "no way to it", "start it")


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [([], Verdict.OK), ([FINE], Verdict.OK), ([FINE, SLOW], Verdict.WARNING), ([BAD, SLOW, FINE], Verdict.WRONG)],
)
def test_it_is_as_bad_as_the_worst(findings, verdict) -> None:
    assert diagnosis(findings).verdict is verdict


def test_findings_are_told_by_matter_whatever_order_they_came_in() -> None:
    assert diagnosis([BAD, SLOW, FINE]).findings == [FINE, SLOW, BAD]


def test_lines_are_for_people() -> None:
    assert as_text(diagnosis([BAD, FINE])) == (
        "ok       hash engine   tidegate (avx2)\nwrong    database      no way to it\n                       -> start it\n"
    )


def test_json_is_for_programs() -> None:
    assert json.loads(as_json(diagnosis([SLOW]))) == {
        "verdict": "warning",
        "findings": [{"matter": "huge pages", "verdict": "warning", "says": "never", "advice": "ask for them"}],
    }
