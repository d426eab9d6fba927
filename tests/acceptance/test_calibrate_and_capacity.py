"""`tidegate calibrate` and `tidegate capacity` as an operator runs them before the crowd comes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import tidegate
from tidegate.calibration.figures import read_calibration
from tidegate.passwords.profiles import PROFILES


def test_what_one_machine_measures_another_plans_with(tmp_path: Path) -> None:
    measured = tidegate("calibrate", "--seconds", "1", "--json", "--wished-latency-ms", "2000")
    assert measured.returncode == 0, measured.stderr
    assert measured.stderr.startswith("tidegate: measuring ")
    calibration = read_calibration(measured.stdout.encode())
    assert {each.name for each in calibration.profiles} | set(calibration.left_out) == set(PROFILES)
    assert calibration.recommendation.settings["TIDEGATE_HASH_PROFILE"] in PROFILES

    (tmp_path / "node.json").write_text(measured.stdout)
    words = ("capacity", "--users", "100_000", "--within", "60s", "--measured", tmp_path / "node.json", "--json")
    planned = tidegate(*words, settings={"DATA_DIR": str(tmp_path)})
    assert planned.returncode == 0, planned.stderr
    plan: dict[str, Any] = json.loads(planned.stdout)
    figures = calibration.of("owasp-19456")
    assert figures is not None
    assert plan["hashes_per_s_per_core"] == figures.in_a_storm.hashes_per_s_per_core
    assert plan["nodes"] * plan["cores_per_node"] >= plan["cores"] > 0
    assert plan["undersized"][-1]["refused_share"] == 0


def test_a_plan_without_a_file_measures_this_machine(tmp_path: Path) -> None:
    planned = tidegate("capacity", "--users", "1000", "--within", "1m", settings={"DATA_DIR": str(tmp_path)})
    assert planned.returncode == 0, planned.stderr
    assert planned.stderr.startswith("tidegate: measuring owasp-19456 on ")
    assert "17/s  1,000 in 60 s" in planned.stdout
    assert "measured just now on this machine" in " ".join(planned.stdout.split())


@pytest.mark.parametrize(
    "words",
    [
        ("calibrate", "--seconds", "0"),
        ("calibrate", "--wished-latency-ms", "x"),
        ("capacity", "--users", "1"),
        ("capacity", "--users", "0", "--within", "60s"),
        ("capacity", "--users", "1", "--within", "60"),
        ("capacity", "--users", "1", "--within", "60s", "--hash-profile", "md5"),
    ],
)
def test_wrong_words_are_told_in_a_line(words: tuple[str, ...]) -> None:
    told = tidegate(*words)
    assert told.returncode == 64
    assert told.stderr.count("\n") == 1
    assert told.stdout == ""
