"""Storms are told in words that people use, figures come from a file of ours, and everything else is refused in a line."""

import argparse
import json
import os
from pathlib import Path

import msgspec
import pytest

from tests.unit.calibration.samples import figures
from tidegate.calibration.figures import Calibration, Machine, as_json
from tidegate.calibration.recommending import recommend
from tidegate.cli import exits, main
from tidegate.cli.calibrate import positive
from tidegate.cli.capacity import _count, _duration

PROFILES = (figures("owasp-19456", 200), figures("owasp-7168", 400))
CALIBRATION = Calibration(
    tidegate="0.1.0",
    measured_at="2026-11-22T19:00:00+00:00",
    machine=Machine(cpu="Z80", cores=2, memory_bytes=1 << 30, system="Linux 6.18"),
    engine="tidegate (avx512)",
    seconds=20,
    rounds=5,
    cpu_share=0.97,
    profiles=PROFILES,
    left_out={},
    recommendation=recommend(PROFILES, wished_latency_ms=50),
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of this machine or its user."""
    for name in (name for name in list(os.environ) if name.startswith("TIDEGATE_")):
        monkeypatch.delenv(name)
    monkeypatch.setenv("TIDEGATE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "node.json"
    path.write_text(as_json(CALIBRATION))
    return path


def reckoned(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main.main(["capacity", "--json", *words]) == exits.DONE
    plan: dict[str, object] = json.loads(capsys.readouterr().out)
    return plan


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("5m", 300), ("1h", 3_600), ("1.5m", 90), ("0.25s", 0.25)])
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert _duration(text) == seconds


@pytest.mark.parametrize("text", ["60", "s", "0s", "-5m", "5 m", "5d", "1e3s", "nans", "٣s", ""])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write 60s, 5m or 1h"):
        _duration(text)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("100_000", 100_000), ("2000000", 2_000_000)])
def test_a_crowd_is_a_whole_number(text: str, count: int) -> None:
    assert _count(text) == count


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "_", "", "1__0__", "9" * 16])
def test_what_is_no_crowd_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no number from 1"):
        _count(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", ""])
def test_what_is_nothing_to_measure_for_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no number above 0"):
        positive(text)


def test_a_plan_from_a_file_measures_nothing(capsys: pytest.CaptureFixture[str], measured: Path) -> None:
    plan = reckoned(capsys, "--users", "100000", "--within", "60s", "--measured", str(measured))
    assert (plan["hashes_per_s_per_core"], plan["cores_per_node"], plan["profile"]) == (100, 2, "owasp-19456")
    assert (plan["cores"], plan["nodes"]) == (20, 10)


def test_nodes_and_profile_can_be_others(capsys: pytest.CaptureFixture[str], measured: Path) -> None:
    words = ("--users", "100000", "--within", "60s", "--measured", str(measured), "--cores-per-node", "16")
    plan = reckoned(capsys, *words, "--hash-profile", "owasp-7168")
    assert (plan["cores"], plan["nodes"], plan["profile"]) == (10, 1, "owasp-7168")


def test_settings_count(capsys: pytest.CaptureFixture[str], measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_HASH_PROFILE", "owasp-7168")
    monkeypatch.setenv("TIDEGATE_DATABASE_CONNECTIONS", "3")
    plan = reckoned(capsys, "--users", "1000", "--within", "1m", "--measured", str(measured))
    assert plan["profile"] == "owasp-7168"
    assert (plan["processes_per_node"], plan["connections_per_node"]) == (2, 2 * 4)
    monkeypatch.setenv("TIDEGATE_API_PROCESSES", "5")
    plan = reckoned(capsys, "--users", "1000", "--within", "1m", "--measured", str(measured))
    assert plan["processes_per_node"] == 5


def test_a_big_node_has_as_many_processes_as_its_budget_of_connections_allows(
    capsys: pytest.CaptureFixture[str], measured: Path
) -> None:
    words = ("--users", "1000", "--within", "1m", "--measured", str(measured), "--cores-per-node")
    assert reckoned(capsys, *words, "8")["processes_per_node"] == 8
    assert reckoned(capsys, *words, "64")["processes_per_node"] == 10


def test_figures_that_are_not_there_are_told(capsys: pytest.CaptureFixture[str], measured: Path) -> None:
    words = ["capacity", "--users", "1", "--within", "1s", "--measured"]
    other = measured.with_name("other.json")
    for path, text, told in (
        (measured.with_name("none.json"), None, "cannot be read (No such file or directory)"),
        (other, b"{}", "is not what `tidegate calibrate --json` writes"),
        (measured, None, "has no figures of owasp-47104, only of owasp-19456, owasp-7168"),
    ):
        if text is not None:
            path.write_bytes(text)
        assert main.main([*words, str(path), "--hash-profile", "owasp-47104"]) == exits.UNREADABLE_FILE
        said = capsys.readouterr()
        assert said.out == ""
        assert told in said.err
        assert said.err.count("\n") == 1


def test_figures_that_would_be_divided_by_are_refused(capsys: pytest.CaptureFixture[str], measured: Path) -> None:
    written = msgspec.json.decode(measured.read_bytes())
    written["profiles"][0]["two_in_turn"]["hashes_per_s_per_core"] = 0
    measured.write_bytes(msgspec.json.encode(written))
    words = ["capacity", "--users", "1", "--within", "1s", "--measured", str(measured)]
    assert main.main(words) == exits.UNREADABLE_FILE
    assert "hashes_per_s_per_core" in capsys.readouterr().err
