"""What `./run bench` takes, what it refuses, and what it tells."""

from pathlib import Path

import msgspec
import pytest
from bench.command import arguments, is_full, results_page, write_down
from bench.node import OURS
from bench.plots import draw
from bench.results import Results, page
from bench.scenarios import scenarios

from tests.unit.bench.test_scenarios import GO, a_stream, a_window, mixed_window, raw

ALL = scenarios(storm_s=60)
RESULTS = Results(
    commit="abc",
    command="./run bench --rounds 1",
    machine={"cores": 2, "cpu": "Some CPU", "kernel": "6.1", "python": "3.11"},
    settings={"TIDEGATE_API_PROCESSES": "2"},
    profile="$argon2id$v=19$m=19456,t=2,p=1",
    engine="some engine",
    services=[OURS, GO],
    rounds={
        "login-64": [
            [raw(100.0), a_window(OURS, {"login": a_stream(900)}), raw(100.0), a_window(GO, {"login": a_stream(300)})]
        ],
        "mixed": [[mixed_window(OURS, 600), mixed_window(GO, 300)]],
        "storm": [
            [
                a_window(OURS, {"login": a_stream(1000)}, label="peak"),
                a_window(
                    OURS,
                    {"login": a_stream(950), "me": a_stream(1000), "refresh": a_stream(1000)},
                    label="storm",
                    rate=1200.0,
                ),
            ]
        ],
    },
)


@pytest.mark.parametrize(
    "words",
    [["nothing"], ["--rounds", "0"], ["--seconds", "x"], ["--peers", "/nowhere"], ["--base", "http://x"]],
    ids=" ".join,
)
def test_words_that_make_no_sense_are_refused_with_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        arguments(words)
    assert left.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_the_help_names_every_scenario(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        arguments(["--help"])
    told = capsys.readouterr().out
    assert all(f"  {each.name} " in told for each in ALL)


def test_only_all_scenarios_beside_peers_stand_in_the_page(tmp_path: Path):
    program = tmp_path / "go-seed/build/go-seed"
    program.parent.mkdir(parents=True)
    program.touch()
    peers = ["--peers", str(tmp_path)]
    assert is_full(arguments(peers))
    assert not is_full(arguments([]))
    assert not is_full(arguments(["me", *peers]))
    assert not is_full(arguments([*peers, "--out", str(tmp_path)]))


def test_the_page_says_what_was_measured_on_what_and_how():
    told = page(RESULTS, ALL)
    for fact in ("Commit abc", "2 cores of Some CPU", "m=19456,t=2,p=1", "some engine", "TIDEGATE_API_PROCESSES=2"):
        assert fact in told
    assert "    ./run bench --rounds 1\n" in told
    assert "| logins/s ÷ raw hashes/s, 64 connections | at least 0.92 | 0.900 (0.900-0.900) | short |" in told
    assert "| logins/s over 64 connections ÷ go-seed's | at least 2 | 3.00 (3.00-3.00) | pass |" in told
    assert "| login-64 | raw hashing |  |  | 100.0 |  | 7000 |  |  |" in told
    assert "| login-64 | tidegate | 64 | login | 90.0 | 5.0, 5.0, 5.0 | 19912, 1106, 553 | 150 | 503: 4 |" in told


def test_every_number_and_every_plot_is_written(tmp_path: Path):
    given = arguments(["--out", str(tmp_path)])
    numbers = write_down(RESULTS, given)
    assert msgspec.json.decode(numbers.read_bytes(), type=Results) == RESULTS
    drawn = draw(RESULTS, numbers.with_suffix(""))
    assert [path.name for path in drawn] == ["abc-rates.png", "abc-mixed.png", "abc-storm.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["abc.json", *(path.name for path in drawn)])


def test_nothing_is_drawn_of_nothing(tmp_path: Path):
    assert draw(msgspec.structs.replace(RESULTS, rounds={}), tmp_path / "abc") == []


def test_the_page_of_a_full_run_leads_to_its_numbers_and_shows_its_plots():
    plots = [Path("results/abc-rates.png"), Path("results/abc-storm.png")]
    assert results_page("| told |", Path("results/abc.json"), plots).splitlines()[2:] == [
        "The last full run, written by the command in it.",
        "",
        "| told |",
        "",
        "Every number: `results/abc.json`.",
        "",
        "![rates](results/abc-rates.png)",
        "![storm](results/abc-storm.png)",
    ]
