"""`./run bench`, `bench.many` and `bench.campaign` as people call them, on a small scale. Slow: they rest in between."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from bench.many.balancing import DIRECT, ONE, TWO
from bench.results import Results
from bench.turns import Granted, Window

from tests.support.commands import environment_with

REPOSITORY = Path(__file__).parents[3]

pytestmark = pytest.mark.full


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where a run keeps what it makes; not pytest's own folder, which PostgreSQL's user may not enter."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def bench(*words: str | Path, temporary: Path, module: str = "bench", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    added = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": str(temporary)}
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=REPOSITORY,
        env=environment_with(settings) | added,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_a_run_of_some_scenarios_measures_them_and_leaves_nothing_behind(tmp_path: Path, temporary: Path):
    names = ["login-64", "register", "me", "refresh", "unknown", "storm"]
    numbers = ["--rounds", "1", "--seconds", "1", "--storm-seconds", "2", "--users", "300"]
    done = bench(*names, *numbers, "--out", tmp_path, temporary=temporary)
    assert done.returncode == 0, done.stderr
    assert "| logins/s ÷ raw hashes/s, 64 connections | at least 0.92 |" in done.stdout
    (written,) = tmp_path.glob("*.json")
    results = msgspec.json.decode(written.read_bytes(), type=Results)
    assert list(results.rounds) == names
    for name in names[1:-1]:
        ((window,),) = results.rounds[name]
        assert isinstance(window, Window)
        (measured,) = window.streams.values()
        assert set(measured.by_status) == {str(window.good_status[name])}, name
        assert window.cpu_s["node"] > 0 < window.pss_mib
    assert {path.name.rpartition("-")[2] for path in tmp_path.glob("*.png")} == {"storm.png"}
    assert list(temporary.iterdir()) == []


def test_many_nodes_are_measured_and_leave_nothing_behind(tmp_path: Path, temporary: Path):
    numbers = ["--rounds", "1", "--seconds", "1", "--users", "300"]
    done = bench("balancer", *numbers, "--out", tmp_path, temporary=temporary, module="bench.many")
    assert done.returncode == 0, done.stderr
    results = msgspec.json.decode((tmp_path / "many.json").read_bytes(), type=Results)
    windows = [turn for turns in results.rounds["balancer"] for turn in turns if isinstance(turn, Window)]
    assert [window.service for window in windows] == [DIRECT, ONE, TWO] * 2
    for window in windows:
        (measured,) = window.streams.values()
        assert set(measured.by_status) == {"200"}, window.service
        assert window.cpu_s["node"] > 0
        assert ("haproxy" in window.cpu_s) == (window.service != DIRECT)
    assert f"GET /me: {TWO} ÷ {ONE}" in (tmp_path / "MANY.md").read_text()
    assert list(temporary.iterdir()) == []


def test_a_small_storm_on_a_campaign_is_measured_and_leaves_nothing_behind(tmp_path: Path, temporary: Path):
    numbers = ["--rounds", "1", "--seconds", "1", "--users", "300"]
    done = bench("storm", "grants", *numbers, "--out", tmp_path, temporary=temporary, module="bench.campaign")
    assert done.returncode == 0, done.stderr
    results = msgspec.json.decode((tmp_path / "campaign.json").read_bytes(), type=Results)
    ((_, window, storm),) = results.rounds["storm"]
    assert isinstance(window, Window)
    assert set(window.streams["login"].by_status) == {"200"}
    assert isinstance(storm, Granted)
    assert (storm.cap, storm.granted, storm.by_rows.total, storm.seen.total) == (240, 240, 240, 240)
    assert storm.first_logins[-1] >= 300
    assert storm.grants[-1] == 240
    (grants,) = results.rounds["grants"]
    assert [(turn.workers, turn.granted) for turn in grants if isinstance(turn, Granted)] == [(1, 300), (2, 300)]
    told = (tmp_path / "CAMPAIGN.md").read_text()
    assert "| storm (400 eligible, 240 coupons): logins |" in told
    assert "![campaign](results/campaign.png)" in told
    assert (tmp_path / "campaign.png").stat().st_size > 10_000
    assert list(temporary.iterdir()) == []


def test_a_run_that_cannot_measure_says_why_in_a_sentence_and_keeps_the_logs(tmp_path: Path, temporary: Path):
    done = bench("me", "--out", tmp_path, temporary=temporary, HASH_PROFILE="none")
    assert done.returncode == 1
    assert done.stderr.startswith("bench: tidegate up does not become ready: ")
    assert "TIDEGATE_HASH_PROFILE" in done.stderr
    (kept,) = temporary.iterdir()
    assert done.stderr.endswith(f"The logs are in {kept}.\n")
    assert list(tmp_path.iterdir()) == []
