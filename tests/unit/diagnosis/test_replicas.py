"""What a replica says of itself becomes a verdict and a thing to do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tidegate.diagnosis.findings import Verdict
from tidegate.diagnosis.replicas import Primary, Standby, judged

PRIMARY = Primary(flushed=1 << 30, timeline=3, system=7)
STANDBY = Standby(is_standby=True, is_paused=False, replayed=(1 << 30) - 100, is_fed=True, timeline=3, system=7, offered=97)


def test_one_that_follows_is_right() -> None:
    found = judged(2, STANDBY, PRIMARY, connections=10)
    assert found.verdict is Verdict.OK
    assert found.says == "replica 2 follows on timeline 3, 100 bytes behind; this node takes 10 of 97 connections"


@pytest.mark.parametrize(
    ("said", "verdict", "word"),
    [
        ({"is_standby": False}, Verdict.WRONG, "takes writes"),
        ({"system": 8}, Verdict.WRONG, "another database"),
        ({"is_fed": False, "timeline": None}, Verdict.WRONG, "receives nothing"),
        ({"timeline": None}, Verdict.WRONG, "does not tell our role"),
        ({"timeline": 2}, Verdict.WRONG, "another log"),
        ({"replayed": (1 << 30) + 1}, Verdict.WRONG, "another log"),
        ({"is_paused": True}, Verdict.WARNING, "paused"),
        ({"offered": 9}, Verdict.WRONG, "lets 9 connections in"),
        ({"replayed": 0}, Verdict.WARNING, "bytes behind"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(said: Mapping[str, Any], verdict: Verdict, word: str) -> None:
    found = judged(1, replace(STANDBY, **said), PRIMARY, connections=10)
    assert found.verdict is verdict
    assert word in found.says
    assert found.advice
